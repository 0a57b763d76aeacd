"""The clinician's dashboard: a study list, and one page for each ECG with what the model reads in it."""
