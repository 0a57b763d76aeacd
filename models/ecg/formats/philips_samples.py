"""Philips samples: what stands in ``parsedwaveforms``, and how it is stored.

In XLI, III, aVR, aVL and aVF are stored as what is left of them when they are computed from I and II; without
compression, of which no real file was met, as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingMetadata, UnsafeFile, UnsupportedFormat
from models.ecg.formats import xli
from models.ecg.formats.base64_samples import decode_base64, words
from models.ecg.formats.device_values import hertz
from models.ecg.formats.number_list import check_length, whole_numbers
from models.ecg.formats.xml_document import number_of, text_at
from models.ecg.recording import LEADS, Filters

MAX_LEADS = 24

MAX_SAMPLES = 120_000
"""Of one lead: 2 min at 1000 Hz, far beyond what carts keep of a resting ECG, and little work to unpack."""

_TWELVE_LEADS = {"STD-12", "10-WIRE"}
_WHAT = "the waveform of the Philips file"


@dataclass(frozen=True)
class Stored:
    """The stored samples; what is said of them are attributes beside them (1.04), else fields (1.03).

    Attributes
    ----------
    waveforms : Element
        ``parsedwaveforms``.
    fields : Element
        ``signalcharacteristics``.
    """

    waveforms: Element
    fields: Element

    @classmethod
    def of(cls, waveforms: Element, fields: Element | None) -> Stored:
        """The fields may be missing."""
        return cls(waveforms, Element("signalcharacteristics") if fields is None else fields)

    def _stated(self, *names: str) -> str:
        """The first of the names that is there, as an attribute or as a field; "" where none is."""
        values = (self.waveforms.get(name, "").strip() or text_at(self.fields, name) for name in names)
        return next(filter(None, values), "")

    def rate(self) -> float | None:
        """Hertz."""
        return number_of(self._stated("samplespersecond", "samplingrate"), "the sampling rate of the Philips file")

    def resolution(self) -> float:
        """Microvolts in one step."""
        size = number_of(self._stated("resolution", "signalresolution"), "the resolution of the Philips file")
        if not size or size < 0:
            raise MissingMetadata("the Philips file does not say how much one step of its samples is (resolution)")
        return size

    def channels(self) -> int:
        """How many leads are stored."""
        count = number_of(self._stated("numberofleads"), "the number of leads of the Philips file")
        if count is None:
            named = len(self._stated("leadlabels").split())
            count = named or number_of(self._stated("numberchannelsallocated"), "numberchannelsallocated")
        if count is None or count % 1 or not 0 < count <= MAX_LEADS:
            raise DecodeError("the Philips file does not say how many leads it holds, or more than an ECG has")
        return int(count)

    def leads(self) -> list[str] | None:
        """Labels of the leads, None where there are none; the standard twelve are not named in 1.03."""
        labels, count = self._stated("leadlabels").split(), self.channels()
        if labels and len(labels) < count:
            raise DecodeError(f"the Philips file announces {count} leads and names {len(labels)}")
        if labels:
            return labels[:count]
        return list(LEADS) if self._stated("acquisitiontype") in _TWELVE_LEADS and count == len(LEADS) else None

    def filters(self) -> Filters:
        """Of the stored samples; those of the report are for its print."""
        band = self._stated("signalbandwidth").partition("-")
        is_notched = self._stated("notchfiltered").lower() == "true"
        return Filters(
            high_pass=hertz(self._stated("hipass") or band[0]),
            low_pass=hertz(self._stated("lowpass") or band[2]),
            notch=hertz(self._stated("notchfilterfreqs").partition(" ")[0]) if is_notched else None,
        )

    def steps(self, labels: tuple[str, ...], rate: float) -> NDArray[np.float64]:
        """(leads, samples) as the converter gave them."""
        self._check_form()
        samples, text = self._samples(rate), self.waveforms.text or ""
        if self._compression():
            if labels[:6] != LEADS[:6]:
                raise UnsupportedFormat("the XLI data does not begin with I, II, III, aVR, aVL and aVF")
            return _with_limb_leads(xli.unpack(decode_base64(text, _WHAT), len(labels), samples))
        is_plain = self._stated("dataencoding").lower() == "plain"
        flat = whole_numbers(text, " ", _WHAT) if is_plain else words(decode_base64(text, _WHAT), _WHAT)
        check_length(len(flat), len(labels) * samples, _WHAT)
        return flat.reshape(len(labels), -1)

    def _compression(self) -> str:
        method = self._stated("compression", "compressmethod").lower()
        is_off = self._stated("compressflag").lower() == "false" or method in {"uncompressed", "none"}
        return "" if is_off else method

    def _check_form(self) -> None:
        """Refuse other than 16-bit samples around zero, in XLI or as they are."""
        compression = self._compression()
        forms = {
            "compression": (compression, {"", "xli"}),
            "encoding": (self._stated("dataencoding").lower(), {"base64"} if compression else {"base64", "plain"}),
            "number of bits": (self._stated("bitspersample", "nbitspersample"), {"", "16"}),
            "sign": (self._stated("signalsigned").lower(), {"", "true"}),
            "offset": (self._stated("signaloffset"), {"", "0"}),
        }
        for name, (found, known) in forms.items():
            if found not in known:
                raise UnsupportedFormat(f"the {name} {found[:40]!r} of the samples of the Philips file is not known")

    def _samples(self, rate: float) -> int:
        """Of each lead, by its stated duration in milliseconds."""
        duration = number_of(self._stated("durationperchannel"), "the duration of the Philips file")
        if duration is None:
            raise MissingMetadata("the Philips file does not say how long it is (durationperchannel)")
        samples = duration * rate / 1000
        if not 2 <= samples <= MAX_SAMPLES:
            raise UnsafeFile(f"{duration:g} ms at {rate:g} Hz is no resting ECG")
        return round(samples)


def _with_limb_leads(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo what XLI does to III, aVR, aVL and aVF: halves are rounded down (sierra-ecg-tools)."""
    i, ii, iii, avr, avl, avf = steps[:6]
    third = ii - i - iii
    limbs = (
        third,
        -avr - np.floor((i + ii) / 2),
        np.floor((i - third) / 2) - avl,
        np.floor((ii + third) / 2) - avf,
    )
    return np.concatenate([steps[:2], limbs, steps[6:]])
