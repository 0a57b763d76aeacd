"""Mortara ELI XML as the tests write it."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

ROOT = (
    'ACQUISITION_TIME="20161107090503" VENT_RATE="75" AVERAGE_RR="800" AGE="61" AGE_UNITS="YEARS" '
    'HEIGHT="70" HEIGHT_UNITS="IN" WEIGHT="80" WEIGHT_UNITS="KG"'
)
SUBJECT = '<SUBJECT LAST_NAME="DOE" ID="1000037" GENDER="Male"/>'
CYCLE = (
    'P_DURATION="104" PR_DURATION="160" QRS_DURATION="90" QT="380" QTC="424" QTB="425" QTF="409" '
    'P_AXIS="50" QRS_AXIS="-30" T_AXIS="200"'
)


def mortara_xml(
    signal: NDArray[np.float64], *, per_millivolt: int = 200, labels: tuple[str, ...] = LEADS, encoding: str = "UTF-8"
) -> bytes:
    """Leads in mV as so many units per millivolt; an averaged beat of other samples stands before them."""
    units = np.rint(per_millivolt * signal).astype("<i2")
    form = f'BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{per_millivolt}" SAMPLE_FREQ="500" ENCODING="BASE64"'
    channels = "".join(
        f'<CHANNEL OFFSET="0" {form} DURATION="{len(row)}" NAME="{label}" DATA="{encoded(row)}"/>\n'
        for label, row in zip(labels, units, strict=True)
    )
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<ECG {ROOT}>\n{SUBJECT}\n'
        '<SOURCE TYPE="ELI" MANUFACTURER="MORTARA INSTRUMENT" MODEL="ELI 280" LOW_PASS_FILTER="150"/>\n'
        '<AUTOMATIC_INTERPRETATION><STATEMENT TEXT="Sinus rhythm" REASON="rate 75"/><STATEMENT TEXT="Normal ECG"/>'
        "</AUTOMATIC_INTERPRETATION>\n"
        f'<TYPICAL_CYCLE {form} DURATION="60" {CYCLE}>'
        f'<TYPICAL_CYCLE_CHANNEL NAME="I" DATA="{encoded(units[0, 60:0:-1])}"/></TYPICAL_CYCLE>\n{channels}</ECG>\n'
    )
    return text.encode(encoding)


def encoded(row: NDArray[np.int16]) -> str:
    return base64.b64encode(row.tobytes()).decode()
