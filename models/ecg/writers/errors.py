"""Why a recording cannot be written in a format: the format has no place for it, and nothing is bent to fit.

::

    Unwritable
    ├── VoltageTooLarge      more than 16 bits hold in steps that an ECG is stored in
    ├── RateNotAllowed       a sampling rate that the format forbids
    ├── LimbLeadsDisagree    limb leads that a format of eight leads would lose
    └── TextNotAllowed       an identifier that no field of the format holds
"""

from __future__ import annotations


class Unwritable(ValueError):
    """A recording that a format cannot hold."""


class VoltageTooLarge(Unwritable):
    """A sample does not fit into 16 bits."""


class RateNotAllowed(Unwritable):
    """The format does not allow this sampling rate: resample first."""


class LimbLeadsDisagree(Unwritable):
    """III, aVR, aVL or aVF is not what I and II say: write a format that stores all twelve leads."""


class TextNotAllowed(Unwritable):
    """A name or identifier is too long, or holds characters that the format forbids."""
