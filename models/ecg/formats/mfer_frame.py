"""MFER frame: so many sequences of a block of each channel in turn (ISO/TS 11073-92001:2007, clauses 5.2 and 5.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats.mfer_definitions import Definition
from models.ecg.formats.scp_leads import label_of
from models.ecg.leads import MAX_SAMPLES

BLOCK, SEQUENCES, KIND, LEAD, TYPE, INTERVAL, SENSITIVITY = 0x04, 0x06, 0x08, 0x09, 0x0A, 0x0B, 0x0C
OFFSET, COMPRESSION, NULL, SKEW = 0x0D, 0x0E, 0x12, 0x43
ATTRIBUTES = (BLOCK, SEQUENCES, KIND, LEAD, TYPE, INTERVAL, SENSITIVITY, OFFSET, COMPRESSION, NULL, SKEW)

_TYPES = {0: "i2", 1: "u2", 2: "i4", 3: "u1", 4: "u2", 5: "i1", 6: "u4", 7: "f4", 8: "f8"}
_BEAT, _STATUS = 9, 4
_HERTZ, _SECONDS, _VOLT = 0, 1, 0
_LARGEST_EXPONENT = 30


@dataclass(frozen=True)
class Channel:
    """What is defined of a channel, by tag."""

    said: Mapping[int, Definition]

    def layout(self) -> dict[int, bytes]:
        """All that two frames of one recording must share."""
        return {tag: each.value for tag, each in self.said.items() if tag not in (BLOCK, SEQUENCES)}

    def whole(self, tag: int) -> int | None:
        """A whole number; None where nothing is defined."""
        return self.said[tag].number() if tag in self.said else None

    @property
    def is_beat(self) -> bool:
        """Whether it is an averaged beat."""
        return KIND in self.said and self.said[KIND].number(0, 2) == _BEAT

    @property
    def is_status(self) -> bool:
        """Whether its samples are bits and no wave."""
        return self.whole(TYPE) == _STATUS

    @property
    def label(self) -> str | None:
        """The lead, by its number, else by the text behind it."""
        if LEAD not in self.said:
            return None
        code = self.said[LEAD].number(0, 2)
        text = self.said[LEAD].value[2:].decode("utf-8", errors="replace").strip("\0 ")[:40]
        return label_of(code) or text or f"lead {code}"

    @property
    def rate(self) -> float | None:
        """Hertz."""
        unit, value = _quantity(self.said.get(INTERVAL))
        if value is None:
            return None
        if unit not in (_HERTZ, _SECONDS) or value <= 0:
            raise DecodeError(f"the MFER file has a sampling interval of {value:g} in unit {unit}")
        return round(value if unit == _HERTZ else 1 / value, 9)

    @property
    def volts(self) -> float | None:
        """Volts of one step."""
        unit, value = _quantity(self.said.get(SENSITIVITY))
        if value is not None and (unit != _VOLT or value <= 0):
            raise DecodeError(f"a lead of the MFER file has a sensitivity of {value:g} in unit {unit}, no volts")
        return value

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a sample; 16 bits with a sign where none is defined. Its byte order is the frame's."""
        code = self.whole(TYPE) or 0
        if code not in _TYPES or self.whole(COMPRESSION):
            raise UnsupportedFormat(f"the samples of the MFER file are compressed or of an unknown type, {code}")
        return np.dtype(_TYPES[code])

    def constant(self, tag: int) -> float | None:
        """An offset or a null value, which is a sample of its own."""
        if tag not in self.said:
            return None
        value, dtype = self.said[tag].value, ordered(self.dtype, self.said[tag])
        if len(value) != dtype.itemsize:
            raise DecodeError(f"tag {tag:02X} of the MFER file has {len(value)} bytes, a sample {dtype.itemsize}")
        return float(np.frombuffer(value, dtype)[0].item())


@lru_cache(maxsize=8)  # all channels mostly share one
def _quantity(definition: Definition | None) -> tuple[int, float | None]:
    """Unit and mantissa × 10 ** exponent; none where nothing is defined."""
    if definition is None:
        return 0, None
    if not 3 <= len(definition.value) <= 6:
        raise DecodeError(f"tag {definition.tag:02X} of the MFER file has {len(definition.value)} bytes, not 3 to 6")
    exponent, mantissa = definition.number(1, 2, signed=True), definition.number(2, signed=True)
    if abs(exponent) > _LARGEST_EXPONENT:
        raise DecodeError(f"tag {definition.tag:02X} of the MFER file has an exponent of {exponent}")
    return definition.value[0], float(f"{mantissa}e{exponent}")


def ordered(dtype: np.dtype[np.generic], definition: Definition) -> np.dtype[np.generic]:
    """The type in the byte order that held at a definition."""
    return dtype.newbyteorder("<" if definition.little else ">")


def samples(channels: Sequence[Channel], waves: Definition) -> list[NDArray[np.generic]]:
    """(samples,) of each channel of a frame, as they are stored.

    Raises
    ------
    TruncatedFile
        If there are fewer samples than are defined, or no whole number of sequences.
    UnsafeFile
        If there are more than a resting ECG has.
    DecodeError
        If there are more samples than are defined.
    """
    blocks = [1 if (block := channel.whole(BLOCK)) is None else block for channel in channels]
    types = [ordered(channel.dtype, waves) for channel in channels]
    size = sum(block * dtype.itemsize for block, dtype in zip(blocks, types, strict=True))
    announced = {channel.whole(SEQUENCES) for channel in channels}
    if not min(blocks) or len(announced) > 1:
        raise DecodeError("the channels of a frame of the MFER file have no samples, or differ in their sequences")
    (sequences,) = announced
    stored, rest = divmod(len(waves.value), size)
    count, length = stored if sequences is None else sequences, len(waves.value)
    if rest or count > stored or not count:
        raise TruncatedFile(f"a frame of the MFER file has {length} bytes of the {max(count, 1) * size} defined")
    if count < stored:
        raise DecodeError(f"a frame of the MFER file has {length} bytes, and not the {count * size} defined")
    if count * max(blocks) > MAX_SAMPLES:
        raise UnsafeFile(f"{count * max(blocks)} samples of a channel are more than any resting ECG has")
    record = np.dtype([(f"{n}", dtype, (block,)) for n, (dtype, block) in enumerate(zip(types, blocks, strict=True))])
    frame = np.frombuffer(waves.value, record, count)
    return [frame[name].reshape(-1) for name in record.names or ()]
