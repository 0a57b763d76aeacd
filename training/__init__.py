"""The model factory: paired cohorts, dual-phase contrastive pretraining, phenotype heads, evaluation, export."""
