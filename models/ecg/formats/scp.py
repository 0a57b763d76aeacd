"""SCP-ECG: the standard communications protocol of electrocardiographs (EN 1064:2005 and :2020, ISO 11073-91064).

::

    CRC, length | section 0: where the others are | 1: patient, device | 2: Huffman tables | 3: leads | 4: beats
                | 5: reference beat | 6: rhythm | 7: measurements | 8: statements | 9, 10 … | 11: universal statements

Only section 6 is read as signal: section 5 is one averaged beat, which is added where it was subtracted before. Long
recordings of version 3 (section 12) are not read.
"""

from __future__ import annotations

from models.ecg import statements
from models.ecg.errors import UnsupportedFormat
from models.ecg.formats import scp_findings, scp_patient
from models.ecg.formats.scp_record import Section, is_record, sections
from models.ecg.formats.scp_rhythm import Rhythm, read_rhythm
from models.ecg.leads import arrange
from models.ecg.recording import Recording, Remark
from models.ecg.stated import Stated

matches = is_record


def read(data: bytes, stated: Stated) -> Recording:
    """Read the rhythm of all leads.

    Raises
    ------
    ChecksumMismatch
        If the CRC of the record or of a section does not fit.
    EcgError
        If the record is cut, breaks the rules of its format, or does not hold the twelve leads.
    """
    found = sections(data)
    if 6 not in found:
        raise UnsupportedFormat("this SCP-ECG file holds no 10 s rhythm (section 6): export the resting ECG")
    rhythm = read_rhythm(found)
    rate = stated.agreed_rate(rhythm.rate)
    scale = stated.agreed_unit("nV")
    labels = stated.agreed_leads(rhythm.labels, len(rhythm.labels))
    signal, derived, remarks = arrange(
        (label, samples * scale) for label, samples in zip(labels, rhythm.nanovolts, strict=True)
    )
    tags = scp_patient.tags(found[1].content if 1 in found else b"")
    codec = scp_patient.codec_of(tags)
    said = statements.kept(text for number in (8, 11) for text in scp_findings.texts(found.get(number), codec))
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=scp_patient.age(tags),
        sex=scp_patient.sex(tags),
        height=scp_patient.height(tags),
        weight=scp_patient.weight(tags),
        patient_id=scp_patient.patient_id(tags, codec),
        acquired_at=scp_patient.acquired_at(tags),
        device=scp_patient.device(tags, codec),
        filters=scp_patient.filters(tags),
        paced=_paced(found.get(7), tags) or statements.paced(said),
        measured=scp_findings.measured(found.get(7)),
        statements=said,
        source_format="SCP-ECG",
        derived=derived,
        remarks=remarks + _decimated(rhythm),
    )


def _paced(section: Section | None, tags: scp_patient.Tags) -> bool | None:
    """True where the device found spikes or the history names a pacemaker; no spikes are no answer."""
    return True if scp_findings.spikes(section) or scp_patient.has_pacemaker(tags) else None


def _decimated(rhythm: Rhythm) -> tuple[Remark, ...]:
    if rhythm.decimation == 1:
        return ()
    message = f"outside of the QRS complexes the device kept one sample of {rhythm.decimation}; those between are lines"
    return (Remark(code="bimodal", message=message),)
