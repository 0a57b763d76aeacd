"""Importing: paired ECGs and cardiac MR of a hospital or of UK Biobank become a cohort, and what is wrong is named."""
