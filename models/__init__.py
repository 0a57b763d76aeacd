"""The contract: what a recording is, which phenotypes exist, what a report says, how a bundle is stored and run."""
