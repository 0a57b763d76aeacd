"""Realism: what is measured on simulated participants, held against what was published and against real ECGs."""
