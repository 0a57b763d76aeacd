"""`python -m app`: the same as the `ecg2cmr` command."""

from app.cli import main

main()
