"""Simulated hearts: paired ECG and cardiac MRI from one parametric heart, through physics, with known truth."""

from training.simulate.heart import Again, Heart, heart_of
from training.simulate.participant import Participant
from training.simulate.simulate import record_ecg, simulate, true_phenotypes

__all__ = ["Again", "Heart", "Participant", "heart_of", "record_ecg", "simulate", "true_phenotypes"]
