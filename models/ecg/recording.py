"""Recording: twelve named leads in millivolts with their sampling rate; it refuses to exist otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, with_config

from models.ecg.errors import DecodeError, MissingLeads, MissingSamples
from models.ecg.measurements import UNMEASURED, Measurements
from models.ecg.statements import kept
from models.ecg.text import line

Sex = Literal["F", "M"]

OLDEST, TALLEST, HEAVIEST = 130.0, 280.0, 650.0
"""Years, centimetres, kilograms: nobody was more (122 years, 272 cm and 635 kg; Guinness World Records)."""

LONGEST_IDENTIFIER, LONGEST_DEVICE = 128, 256
"""Characters; what is stored of a patient's identifier and of a device's name."""

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

CANONICAL_STEP = 1e-5
"""Millivolts in one step of the canonical form: 10 nV, finer than any cart's converter (0.6 to 5 µV)."""

SAMPLING_RATES = 20.0, 32_000.0
"""Hertz; below, no QRS complex is seen; above is no electrocardiograph (research systems sample at up to 16 kHz)."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters that the device says it has already applied, in hertz; None where it says nothing."""

    high_pass: float | None = None
    low_pass: float | None = None
    notch: float | None = None


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something a reader noticed and a person should know, though it does not forbid the recording."""

    code: str
    message: str
    leads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", line(self.message))
        object.__setattr__(self, "leads", tuple(map(line, self.leads)))


@with_config(ConfigDict(arbitrary_types_allowed=True))  # pydantic checks what `models.ecg.wire` brings
@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """A 12-lead resting ECG as every part of the system knows it.

    Attributes
    ----------
    signal : ndarray, (12, samples) float64, read-only
        Millivolts, in the order of `LEADS`, finite.
    sampling_rate : float
        Hertz.
    age, sex, height, weight, patient_id
        As the file says them; None where it does not. Age in years, height in cm, weight in kg.
    acquired_at : datetime or None
        Start of the recording; naive where the file states no time zone.
    device : str or None
        Maker and model of the electrocardiograph.
    filters : Filters
        What the device did to the signal before it was stored.
    paced : bool or None
        True if the file says that the heart was paced; None if it says nothing.
    measured : Measurements
        What the device measured, as the file says it; our own are `models.ecg.measure.measure`.
    statements : tuple of str
        What the device, or a person at it, wrote about the ECG.
    source_format : str
        Name of the format that the recording was read from.
    derived : tuple of str
        Limb leads that were computed from I and II.
    remarks : tuple of Remark
        What the reader noticed.

    Raises
    ------
    DecodeError
        If the shape, rate, age, height or weight is impossible.
    MissingSamples
        If a sample is not a number.
    """

    signal: NDArray[np.float64]
    sampling_rate: float
    age: float | None = None
    sex: Sex | None = None
    height: float | None = None
    weight: float | None = None
    patient_id: str | None = None
    acquired_at: datetime | None = None
    device: str | None = None
    filters: Filters = Filters()
    paced: bool | None = None
    measured: Measurements = UNMEASURED
    statements: tuple[str, ...] = ()
    source_format: str = "canonical"
    derived: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def __post_init__(self) -> None:
        signal = np.array(self.signal, dtype=np.float64)  # a copy: nobody can change it behind our back
        if signal.ndim != 2 or signal.shape[0] != len(LEADS) or signal.shape[1] == 0:
            raise DecodeError(f"expected 12 leads with samples, got an array of shape {signal.shape}")
        lowest, highest = SAMPLING_RATES
        if not lowest <= self.sampling_rate <= highest:  # nor is it a number that is none
            raise DecodeError(f"a sampling rate of {self.sampling_rate} Hz is impossible")
        if self.age is not None and not 0 <= self.age <= OLDEST:
            raise DecodeError(f"an age of {self.age} years is impossible")
        if self.height is not None and not 0 < self.height <= TALLEST:
            raise DecodeError(f"a height of {self.height} cm is impossible")
        if self.weight is not None and not 0 < self.weight <= HEAVIEST:
            raise DecodeError(f"a weight of {self.weight} kg is impossible")
        gaps = ~np.isfinite(signal)
        if gaps.any():
            where = [lead for lead, row in zip(LEADS, gaps, strict=True) if row.any()]
            raise MissingSamples(f"{int(gaps.sum())} samples are not numbers, in {', '.join(where)}")
        self._keep_text_short()
        signal.setflags(write=False)
        object.__setattr__(self, "signal", signal)

    def _keep_text_short(self) -> None:
        """Text as it can be stored and shown; half an identifier would be somebody else's, so it is left out."""
        object.__setattr__(self, "statements", kept(self.statements))
        patient_id, device = (text and line(text) for text in (self.patient_id, self.device))
        if patient_id and len(patient_id) > LONGEST_IDENTIFIER:
            told = f"an identifier of the patient of {len(patient_id)} characters was left out"
            object.__setattr__(self, "remarks", (*self.remarks, Remark(code="identifier-left-out", message=told)))
            patient_id = None
        object.__setattr__(self, "patient_id", patient_id or None)
        object.__setattr__(self, "device", device[:LONGEST_DEVICE] if device else None)

    @property
    def leads(self) -> tuple[str, ...]:
        """The lead of each row of `signal`."""
        return LEADS

    @property
    def duration(self) -> float:
        """Seconds: samples divided by the sampling rate."""
        return float(self.signal.shape[1] / self.sampling_rate)

    def lead(self, name: str) -> NDArray[np.float64]:
        """One lead by name, (samples,) millivolts."""
        row: NDArray[np.float64] = self.signal[LEADS.index(name)]
        return row

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical samples and their rate: the identity of the ECG, whatever file it came in."""
        digest = hashlib.sha256(f"{self.sampling_rate:.6f} Hz\n".encode())
        digest.update(self._canonical_samples)
        return digest.hexdigest()

    @cached_property
    def _canonical_samples(self) -> bytes:
        steps = np.rint(self.signal / CANONICAL_STEP)
        if np.abs(steps).max() > np.iinfo(np.int32).max:
            raise DecodeError("a sample beyond 21 V is no ECG")
        return steps.astype("<i4").tobytes()

    def to_bytes(self) -> bytes:
        """The canonical recording as it crosses the wire: samples, rate, and no more than a model may use.

        Name, identifiers and times stay behind: a worker never learns whose heart it reads. Height and weight are
        named only where they are known, so that what was written before they existed reads the same.
        """
        header: dict[str, object] = {"age": self.age, "sex": self.sex, "paced": self.paced}
        header |= {k: v for k, v in (("height", self.height), ("weight", self.weight)) if v is not None}
        packed: bytes = msgpack.packb([self.sampling_rate, header, self._canonical_samples])
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Recording:
        """The recording that `to_bytes` wrote, exact to `CANONICAL_STEP`."""
        sampling_rate, header, samples = msgpack.unpackb(data)
        signal = np.frombuffer(samples, "<i4").reshape(len(LEADS), -1) * CANONICAL_STEP
        return cls(signal=signal, sampling_rate=sampling_rate, **header)


def twelve_leads(
    leads: Mapping[str, NDArray[np.floating]],
) -> tuple[NDArray[np.float64], tuple[str, ...], tuple[Remark, ...]]:
    """Order named leads as `LEADS`, deriving limb leads that are missing or have gaps.

    III = II − I, aVR = −(I + II)/2, aVL = I − II/2, aVF = II − I/2 (Einthoven's and Goldberger's leads;
    Kligfield et al., AHA/ACC/HRS recommendations part I, J Am Coll Cardiol 2007;49:1109).

    Parameters
    ----------
    leads : mapping from names in `LEADS` to (samples,) millivolts
        All of one length. A sample that is missing is NaN.

    Returns
    -------
    signal : (12, samples) millivolts
    derived : the limb leads that were computed
    remarks : one remark for each lead whose gaps were filled that way

    Raises
    ------
    MissingLeads
        If I, II or one of V1 to V6 is absent.
    DecodeError
        If the leads differ in length.
    """
    absent = [lead for lead in INDEPENDENT_LEADS if lead not in leads]
    if absent:
        raise MissingLeads(f"no {', '.join(absent)}; found {', '.join(leads) or 'no known lead'}")
    lengths = {lead: len(samples) for lead, samples in leads.items()}
    if len(set(lengths.values())) > 1:
        raise DecodeError(f"the leads differ in length: {lengths}")

    i, ii = np.asarray(leads["I"], np.float64), np.asarray(leads["II"], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by the recording
        from_limbs = {"III": ii - i, "aVR": -(i + ii) / 2, "aVL": i - ii / 2, "aVF": ii - i / 2}
    gappy = tuple(lead for lead in from_limbs if lead in leads and not np.isfinite(leads[lead]).all())
    derived = tuple(lead for lead in from_limbs if lead not in leads or lead in gappy)
    signal = np.stack([from_limbs[lead] if lead in derived else np.asarray(leads[lead], np.float64) for lead in LEADS])
    remarks = tuple(
        Remark(code="gaps-derived", leads=(lead,), message=f"{lead} had gaps and was computed again from I and II")
        for lead in gappy
    )
    return signal, derived, remarks
