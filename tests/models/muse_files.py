"""MUSE XML as the tests write it, after the layout of real exports."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

STORED = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

PATIENT = (
    "<PatientID>1000037</PatientID><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>MALE</Gender>"
    "<HeightCM>180</HeightCM><WeightKG>80</WeightKG><PatientLastName>DOE</PatientLastName>"
)
MEASURED = (
    "<VentricularRate>75</VentricularRate><PRInterval>160</PRInterval><QRSDuration>90</QRSDuration>"
    "<QTInterval>380</QTInterval><QTCorrected>424</QTCorrected><PAxis>50</PAxis><RAxis>-30</RAxis><TAxis>200</TAxis>"
    "<QTcFrederica>409</QTcFrederica>"
)
COMPUTED = "<VentricularRate>74</VentricularRate><PRInterval>158</PRInterval>"
STATEMENTS = (
    "<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Sinus rhythm</StmtText></DiagnosisStatement>"
    "<DiagnosisStatement><StmtText>Left axis</StmtText></DiagnosisStatement>"
    "<DiagnosisStatement><StmtFlag>USERINSERT</StmtFlag><StmtFlag>ENDSLINE</StmtFlag><StmtText>deviation</StmtText>"
    "</DiagnosisStatement>"
)


def muse_xml(
    signal: NDArray[np.float64],
    *,
    rate: int = 500,
    step: float = 1.0,
    labels: tuple[str, ...] = STORED,
    before_leads: str = "",
    encoding: str = "ISO-8859-1",
) -> bytes:
    """Leads in mV as steps of so many microvolts; an averaged beat of other samples stands before them."""
    steps = np.rint(1e3 * signal / step).astype("<i2")
    beat = _waveform("Median", steps[:, :60][:, ::-1], rate, step, labels, "")
    rhythm = _waveform("Rhythm", steps, rate, step, labels, before_leads)
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>\n'
        f"<MuseInfo><MuseVersion>9.0</MuseVersion></MuseInfo><PatientDemographics>{PATIENT}</PatientDemographics>\n"
        "<TestDemographics><AcquisitionDevice>MAC55</AcquisitionDevice><AcquisitionTime>09:05:03</AcquisitionTime>"
        "<AcquisitionDate>11-07-2016</AcquisitionDate></TestDemographics>\n"
        f"<RestingECGMeasurements>{MEASURED}</RestingECGMeasurements>\n"
        f"<OriginalRestingECGMeasurements>{COMPUTED}</OriginalRestingECGMeasurements>\n"
        f"<Diagnosis><Modality>RESTING</Modality>{STATEMENTS}</Diagnosis>\n"
        "<OriginalDiagnosis><DiagnosisStatement><StmtText>As computed</StmtText></DiagnosisStatement>"
        "</OriginalDiagnosis>\n<QRSTimesTypes><GlobalRR>800</GlobalRR></QRSTimesTypes>\n"
        f"{beat}{rhythm}</RestingECG>\n"
    )
    return text.encode(encoding)


def _waveform(
    kind: str, steps: NDArray[np.int16], rate: int, step: float, labels: tuple[str, ...], before_leads: str
) -> str:
    leads = "".join(_lead(label, row.tobytes(), step) for label, row in zip(labels, steps, strict=True))
    return (
        f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(labels)}</NumberofLeads>"
        f"<SampleBase>{rate}</SampleBase><SampleExponent>0</SampleExponent><HighPassFilter>16</HighPassFilter>"
        f"<LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter>{before_leads}\n{leads}</Waveform>\n"
    )


def _lead(label: str, content: bytes, step: float) -> str:
    return (
        f"<LeadData><LeadByteCountTotal>{len(content)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
        f"<LeadSampleCountTotal>{len(content) // 2}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{step:g}</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{label}</LeadID>"
        "<LeadOffsetFirstSample>0</LeadOffsetFirstSample><FirstSampleBaseline>0</FirstSampleBaseline>"
        f"<LeadSampleSize>2</LeadSampleSize><LeadOff>FALSE</LeadOff>"
        f"<LeadDataCRC32>{zlib.crc32(content)}</LeadDataCRC32>"
        f"<WaveFormData>\n{base64.encodebytes(content).decode()}</WaveFormData></LeadData>\n"
    )
