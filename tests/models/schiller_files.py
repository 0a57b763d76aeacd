"""Schiller XML as the tests write it, after the layout of SEMA's exports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

UPPER = tuple(lead.upper() for lead in LEADS)  # AVR, as Schiller writes it
PATIENT = (
    "<id>1000037</id><lastname>DOE</lastname><birthdate>19501108</birthdate><gender>MALE</gender>"
    "<height><value>178</value><unit>CM</unit></height><weight><value>80</value><unit>KG</unit></weight>"
    "<pacemaker><value>OFF</value></pacemaker>"
)
EXAM = (
    "<startdatetime><date>20161107</date><time>090503250</time></startdatetime><rectype>RESTING_ECG</rectype>"
    "<aquiringdevice><hardware><vendor>SCHILLER</vendor><model>AT-102</model></hardware></aquiringdevice>"
)


def schiller_xml(signal: NDArray[np.float64], *, labels: tuple[str, ...] = UPPER, encoding: str = "UTF-8") -> bytes:
    """Leads in mV as microvolts between commas; averages of other samples stand before them."""
    steps = np.rint(1e3 * signal).astype(int)
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<com.xiriuz.sema.xml.schillerEDI.SchillerEDI>'
        f"<patdata>{PATIENT}</patdata><examdescript>{EXAM}</examdescript><eventdata><event>"
        f"{_waves('ECG_AVERAGES', steps[:, 60:0:-1], labels)}{_waves('ECG_RHYTHMS', steps, labels)}"
        "<annotation_global><name>HR</name><value>75</value></annotation_global></event></eventdata>"
        "</com.xiriuz.sema.xml.schillerEDI.SchillerEDI>"
    )
    return text.encode(encoding)


def _waves(kind: str, steps: NDArray[np.int64], labels: tuple[str, ...]) -> str:
    channels = "".join(
        f"<channel><name>{label}</name><data>{','.join(map(str, row))}</data>"
        f"<datastype>COMMASEPARATE</datastype><samplecount>{len(row)}</samplecount></channel>"
        for label, row in zip(labels, steps, strict=True)
    )
    return (
        f"<wavedata><type>{kind}</type><resolution><samplerate><exponent>1</exponent><value>500</value></samplerate>"
        f"<yres><unitperbit>1.0</unitperbit><units>UV</units></yres></resolution>{channels}"
        "<channelconfiguration>ECG_STANDARD</channelconfiguration></wavedata>"
    )
