"""CardioSoft XML as the tests write it, after the layout of UK Biobank's exports (field 20205)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

PATIENT = '<PID>1000037</PID><Age units="YEARS">61</Age><Gender>MALE</Gender><PaceMaker>no</PaceMaker>'
MOMENT = "<Hour>9</Hour><Minute>5</Minute><Second>3</Second><Day>7</Day><Month>11</Month><Year>2016</Year>"  # day first


def cardiosoft_xml(
    signal: NDArray[np.float64],
    *,
    rate: float = 500.0,
    step: float = 5.0,
    patient: str = PATIENT,
    moment: str = MOMENT,
    strip: str | None = None,
    labels: tuple[str, ...] = LEADS,
    encoding: str = "ISO8859-1",
) -> bytes:
    """Twelve leads in mV as steps of so many microvolts, lines wrapped and indented as in real exports.

    An averaged beat of other samples stands before the strip, an interleaved recording behind it.
    """
    steps = np.rint(1e3 * signal / step).astype(int)
    leads = "".join(
        f'<WaveformData lead="{label}">\n\t\t{wrapped(row)}</WaveformData>\n'
        for label, row in zip(labels, steps, strict=True)
    )
    head = (
        f"<NumberOfLeads>{len(steps)}</NumberOfLeads>"
        f'<SampleRate units="Hz">{rate:g}</SampleRate>'
        f"<ChannelSampleCountTotal>{steps.shape[1]}</ChannelSampleCountTotal>"
        f'<Resolution units="uVperLsb">{step:g}</Resolution>\n'
    )
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<CardiologyXML>\n<ObservationType>RestECG</ObservationType>\n'
        f"<ObservationDateTime>{moment}</ObservationDateTime>\n<PatientInfo>{patient}</PatientInfo>\n"
        "<FilterSetting><CubicSpline>no</CubicSpline><Filter50Hz>yes</Filter50Hz><Filter60Hz>no</Filter60Hz>"
        '<LowPass units="Hz">150</LowPass><HighPass units="Hz">0.01</HighPass></FilterSetting>\n'
        '<RestingECGMeasurements><MedianSamples><WaveformData lead="I">9,9,9</WaveformData></MedianSamples>'
        f"</RestingECGMeasurements>\n<StripData>{head if strip is None else strip}{leads}</StripData>\n"
        "<FullDisclosure><FullDisclosureData>1,2,3,4</FullDisclosureData></FullDisclosure>\n</CardiologyXML>\n"
    )
    return text.encode(encoding)


def wrapped(row: NDArray[np.int64], width: int = 12) -> str:
    cells = [",".join(map(str, row[start : start + width])) for start in range(0, len(row), width)]
    return ",\n\t\t".join(cells)
