"""Philips Sierra XML as the tests write it, after the layout of real exports, and XLI written step by step."""

from __future__ import annotations

import base64
import struct

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

CALIBRATION = 500  # samples behind the ECG: zeros and a pulse of 1 mV
PERSON = (
    "<patientid>1000037</patientid><name><lastname>DOE</lastname></name>"
    '<age defaultage="50"><years>61</years></age><pacestatus>Unknown</pacestatus><sex>Male</sex>'
    "<height><inch>70</inch></height><weight><kg>80</kg></weight>"
)
ACQUISITION = (
    '<machine detaildescription="A.07.04">PageWriter TC</machine><signalcharacteristics>'
    "<samplingrate>500</samplingrate><resolution>5</resolution><hipass>0.05</hipass><lowpass>150</lowpass>"
    "<notchfiltered>True</notchfiltered><notchfilterfreqs>50 100</notchfilterfreqs>"
    "<acquisitiontype>10-WIRE</acquisitiontype><bitspersample>16</bitspersample><signaloffset>0</signaloffset>"
    "<signalsigned>True</signalsigned><numberchannelsallocated>12</numberchannelsallocated></signalcharacteristics>"
)
MEASURED = (
    "<heartrate>75</heartrate><rrint>800</rrint><pdur>104</pdur><print>160</print><qrsdur>90</qrsdur>"
    "<qtint>380</qtint><qtcb>425</qtcb><qtcf>409</qtcf><qtco methodname='Framingham'>411</qtco>"
    "<qtco methodname='Hodges'>406</qtco><pfrontaxis>50</pfrontaxis><qrsfrontaxis>-30</qrsfrontaxis>"
    "<tfrontaxis>200</tfrontaxis>"
)
STATEMENTS = (
    "<severity>- OTHERWISE NORMAL ECG -</severity>"
    "<statement><leftstatement>Sinus rhythm</leftstatement><rightstatement>V-rate 50-99</rightstatement></statement>"
    "<statement><leftstatement>Early transition</leftstatement><rightstatement/></statement>"
)
FORM = 'compression="XLI" dataencoding="Base64" samplespersecond="500" resolution="5"'


def philips_xml(
    signal: NDArray[np.float64],
    *,
    labels: tuple[str, ...] = LEADS,
    form: str = FORM,
    acquisition: str = ACQUISITION,
    seconds: float = 11.0,
    samples: str | None = None,
    encoding: str = "utf-16",
) -> bytes:
    """Leads in mV as steps of 5 microvolts in XLI, or as the text given; an averaged beat stands behind them."""
    steps = with_calibration(np.rint(200 * signal).astype(np.int64))
    text = samples or base64.encodebytes(xli(residuals(steps))).decode()
    named = f'numberofleads="{len(labels)}" leadlabels="{" ".join(labels)}"' if labels else ""
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n'
        '<restingecgdata xmlns="http://www3.medical.philips.com" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="x PhilipsECG.xsd">\n'
        "<documentinfo><documenttype>PhilipsECG</documenttype><documentversion>1.04</documentversion></documentinfo>\n"
        f'<dataacquisition date="2016-11-07" time="09:05:03">{acquisition}</dataacquisition>\n'
        f"<patient><generalpatientdata>{PERSON}</generalpatientdata></patient>\n"
        "<internalmeasurements><crossleadmeasurements><pacemode>0</pacemode></crossleadmeasurements>"
        "</internalmeasurements>\n"
        f"<interpretations><interpretation><globalmeasurements>{MEASURED}</globalmeasurements>{STATEMENTS}"
        "</interpretation></interpretations>\n"
        f'<waveforms><parsedwaveforms {form} {named} durationperchannel="{1000 * seconds:g}">\n{text}'
        '</parsedwaveforms><repbeats dataencoding="Base64"><repbeat leadname="I"><waveform>AAAA</waveform></repbeat>'
        "</repbeats></waveforms>\n</restingecgdata>\n"
    )
    return document.encode(encoding)


def with_calibration(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    pulse = np.repeat([0, 200, 0], [100, 100, CALIBRATION - 200])
    return np.concatenate([steps, np.tile(pulse, (len(steps), 1))], axis=1)


def residuals(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """III, aVR, aVL and aVF as what is left of them, sample by sample."""
    stored = steps.copy()
    for at in range(steps.shape[1]):
        i, ii, iii, avr, avl, avf = (int(value) for value in steps[:6, at])
        stored[2:6, at] = ii - i - iii, -avr - (i + ii) // 2, (i - iii) // 2 - avl, (ii + iii) // 2 - avf
    return stored


def xli(steps: NDArray[np.int64], version: int = 1) -> bytes:
    """All leads, and two unused channels as devices pack them."""
    return b"".join(xli_lead(row.tolist(), version) for row in [*steps, 0 * steps[0], 0 * steps[0]])


def xli_lead(samples: list[int], version: int = 1) -> bytes:
    words, first = samples[:2], 2 * samples[1] - samples[0] - samples[2]
    for at in range(3, len(samples)):
        words.append(64 + 2 * samples[at - 1] - samples[at - 2] - samples[at])
    words.append(64)
    content = bytes(word >> 8 & 255 for word in words) + bytes(word & 255 for word in words)
    packed = bits(lzw(content))
    return struct.pack("<Ihh", len(packed), version, first) + packed


def lzw(content: bytes) -> list[int]:
    """Welch's encoder with a table of 1023 strings, and the end."""
    table = {bytes([code]): code for code in range(256)}
    codes, string = [], b""
    for byte in content:
        longer = string + bytes([byte])
        if longer in table:
            string = longer
            continue
        codes.append(table[string])
        if len(table) < 1023:
            table[longer] = len(table)
        string = longer[-1:]
    return [*codes, table[string], 1023]


def bits(codes: list[int]) -> bytes:
    """Ten bits each, most significant first; then zeros to the next byte, or one more."""
    text = "".join(f"{code:010b}" for code in codes)
    text += "0" * (8 - len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
