"""Units of voltage: every spelling met in ECG files, as a factor to millivolts."""

from __future__ import annotations

from models.ecg.errors import UnknownUnit

_MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "nv": 1e-6, "volt": 1e3, "millivolt": 1.0, "microvolt": 1e-3}
_MICRO_SIGNS = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u"})


def millivolts_per(unit: str) -> float:
    """How many millivolts one of `unit` is.

    Parameters
    ----------
    unit : str
        V, mV, uV, µV (micro sign or Greek mu), nV, in any case, or the word (UCUM 2.2, case-insensitive form).

    Raises
    ------
    UnknownUnit
        If it is no voltage.
    """
    spelling = unit.strip().translate(_MICRO_SIGNS).lower()
    factor = _MILLIVOLTS.get(spelling, _MILLIVOLTS.get(spelling.removesuffix("s")))
    if factor is None:
        raise UnknownUnit(f"{unit[:40]!r} is no voltage")
    return factor
