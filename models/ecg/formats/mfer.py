"""MFER: the medical waveform format encoding rules of Japanese monitors and carts (ISO/TS 11073-92001:2007).

A file is a list of definitions, each a tag, a length and a value. They describe the channels of the frame of waves
that follows; attributes of one channel stand over those of all:

    value = (sample + offset) × sensitivity

No public 12-lead file exists: constructed ones agree with another reader. Averaged beats (waveform type 9) are not the
rhythm and left alone; compressed samples are refused; values and events (part 3 of the format) are not read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from models.ecg import statements
from models.ecg.errors import DecodeError, MissingLeads, UnsafeFile
from models.ecg.formats import mfer_frame
from models.ecg.formats.mfer_definitions import Definition, definitions
from models.ecg.formats.mfer_frame import NULL, OFFSET, SKEW, Channel
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, arrange, lead_name
from models.ecg.patient import age_between
from models.ecg.recording import OLDEST, Filters, Recording, Remark, Sex
from models.ecg.stated import Stated

MAX_FRAMES = 1000

_CHANNELS, _POINTER, _WAVES = 0x05, 0x07, 0x1E
_TEXT, _FILTER, _NOTE, _MAKER, _PATIENT, _AGE, _SEX, _TIME = 0x03, 0x11, 0x16, 0x17, 0x82, 0x83, 0x84, 0x85

_START = re.compile(rb"@[\x04-\x7f]MFR |\x01\x01[\0\1]\x02\x03")  # the preamble; or byte order and version
_SEXES: dict[int, Sex] = {1: "M", 2: "F"}
_FILTERS = {"HPF": "high_pass", "LPF": "low_pass", "BEF": "notch"}
_FILTER_TEXT = re.compile(r"\s*(HPF|LPF|BEF)\s*=\s*(\d{1,5}(?:\.\d{1,6})?)")
_CODECS = {"jis x 0201": "shift_jis", "jis x 0208": "iso2022_jp", "iso 2022": "iso2022_jp", "iso 8859": "latin-1"}

_Frame = tuple[list[Channel], list[NDArray[np.generic]]]


def matches(data: bytes) -> bool:
    """Whether the file begins with the preamble, or with byte order and version."""
    return _START.match(data) is not None


def read(data: bytes, stated: Stated) -> Recording:
    """Read the rhythm of all leads.

    Raises
    ------
    TruncatedFile
        If the file ends within a definition, or a frame has fewer samples than are defined.
    MissingMetadata
        If interval, sensitivity or leads are defined neither in the file nor with the request.
    EcgError
        If the definitions contradict each other, or the twelve leads are missing.
    """
    frames, said = _frames(data)
    channels, rows = _rhythm(frames)
    waves = [index for index, channel in enumerate(channels) if not channel.is_status]
    labels = stated.agreed_leads(_labels([channels[index] for index in waves]), len(waves))
    wanted = {index for index, label in zip(waves, labels, strict=True) if lead_name(label)}
    named = [channels[index] for index in wanted]
    rates = {channel.rate for channel in named}
    if len(rates) > 1:
        raise MissingLeads("the leads of the MFER file differ in their sampling rates: not recorded at once")
    rate = stated.agreed_rate(next(iter(rates), None))
    with np.errstate(over="ignore", invalid="ignore"):  # floats of any size: what is not finite is a gap
        signal, derived, remarks = arrange(
            (label, _millivolts(channels[index], rows[index], stated) if index in wanted else np.empty(0))
            for index, label in zip(waves, labels, strict=True)
        )
    notes = statements.kept(_text(said, note) for note in said[_NOTE])
    started = _started(said)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(said, started),
        sex=_SEXES.get(_last(said, _SEX).number()),
        patient_id=_text(said, _last(said, _PATIENT)).partition("^")[0].strip()[:64] or None,
        acquired_at=started,
        device=" ".join(part.strip()[:64] for part in _text(said, _last(said, _MAKER)).split("^")[:2]).strip() or None,
        filters=_filters(said),
        paced=statements.paced(notes),
        statements=notes,
        source_format="MFER",
        derived=derived,
        remarks=remarks + _skew(named),
    )


def _frames(data: bytes) -> tuple[list[_Frame], dict[int, list[Definition]]]:
    """The frames of rhythm, with their channels; and all that is said beside, by tag."""
    count, pointer, frames = 1, None, list[_Frame]()
    common, own = dict[int, Definition](), defaultdict[int, dict[int, Definition]](dict)
    said = defaultdict[int, list[Definition]](list)
    for each in definitions(data):
        if each.tag in mfer_frame.ATTRIBUTES:
            _define(common if each.channel is None else own[each.channel], each)
        elif each.tag == _CHANNELS:
            count, own = each.number() if each.value else 1, defaultdict(dict)
            if not 0 < count <= MAX_LEADS:
                raise UnsafeFile(f"{count} channels are no ECG")
        elif each.tag == _POINTER:
            pointer = each.number() if each.value else None
        elif each.tag == _WAVES:
            shared = common if count == 1 else _nameless(common)
            channels = [Channel({**shared, **own.get(index, {})}) for index in range(count)]
            if not channels[0].is_beat:
                frames.append((channels, mfer_frame.samples(channels, each)))
                _check_pointer(frames, pointer)
            pointer = None
        else:
            said[each.tag].append(each)
    return frames, said


def _define(target: dict[int, Definition], definition: Definition) -> None:
    """An empty value takes a definition back."""
    if definition.value:
        target[definition.tag] = definition
    else:
        target.pop(definition.tag, None)


def _nameless(common: dict[int, Definition]) -> dict[int, Definition]:
    """A lead that is named for all channels at once names none of several."""
    return {tag: each for tag, each in common.items() if tag != mfer_frame.LEAD}


def _check_pointer(frames: list[_Frame], pointer: int | None) -> None:
    """Frames follow each other without a gap, and are no more than an ECG has."""
    if len(frames) > MAX_FRAMES:
        raise UnsafeFile(f"more than {MAX_FRAMES} frames are no resting ECG")
    if pointer is not None and len(frames) > 1 and pointer != sum(len(rows[0]) for _, rows in frames[:-1]):
        raise DecodeError("there is a gap between two frames of the MFER file")


def _rhythm(frames: list[_Frame]) -> _Frame:
    """All frames as one, where their channels are the same."""
    if not frames:
        raise DecodeError("the MFER file holds no waveform of a rhythm")
    channels, rows = frames[0]
    if len(frames) == 1:
        return channels, rows
    if any([each.layout() for each in others] != [each.layout() for each in channels] for others, _ in frames):
        raise DecodeError("the frames of the MFER file differ in their channels: send one ECG at a time")
    if sum(len(part[0]) for _, part in frames) > MAX_SAMPLES:
        raise UnsafeFile(f"more than {MAX_SAMPLES} samples of a lead are no resting ECG")
    return channels, [np.concatenate(parts) for parts in zip(*(part for _, part in frames), strict=True)]


def _labels(channels: list[Channel]) -> list[str] | None:
    """The leads, or None if a channel is not named."""
    labels = [label for channel in channels if (label := channel.label)]
    return labels if len(labels) == len(channels) else None


def _millivolts(channel: Channel, stored: NDArray[np.generic], stated: Stated) -> NDArray[np.float64]:
    """NaN where the null value stands."""
    volts, null = channel.volts, channel.constant(NULL)
    scale = stated.agreed_unit(None if volts is None else "V")
    samples = stored.astype(np.float64)
    if null is not None:
        samples[samples == null] = np.nan
    if offset := channel.constant(OFFSET):
        samples += offset
    return np.multiply(samples, (1.0 if volts is None else volts) * scale, out=samples)


def _skew(channels: list[Channel]) -> tuple[Remark, ...]:
    if not any(channel.whole(SKEW) for channel in channels):
        return ()
    return (Remark(code="channel-skew", message="the channels were not sampled at the same instants"),)


def _last(said: dict[int, list[Definition]], tag: int) -> Definition:
    """The last definition of a tag, which holds; an empty one where there is none."""
    return said[tag][-1] if said.get(tag) else Definition(tag, b"", None, False)


def _text(said: dict[int, list[Definition]], definition: Definition) -> str:
    """Text in the character set of the file; UTF-8, and so ASCII, where it names none that is known."""
    named = _last(said, _TEXT).value.decode("ascii", errors="replace").strip("\0 ").lower()
    codec = next((codec for start, codec in _CODECS.items() if named.startswith(start)), "utf-8")
    return definition.value.decode(codec, errors="replace").strip("\0 ")


def _started(said: dict[int, list[Definition]]) -> datetime | None:
    """Year, month, day, hour, minute, second, and milliseconds where they are stated."""
    moment = _last(said, _TIME)
    if len(moment.value) < 7:
        return None
    milliseconds = min(moment.number(7, 9), 999) if len(moment.value) >= 9 else 0
    month, day, hour, minute, second = moment.value[2:7]
    try:
        return datetime(moment.number(0, 2), month, day, hour, minute, second, 1000 * milliseconds)
    except ValueError:
        return None


def _age(said: dict[int, list[Definition]], started: datetime | None) -> float | None:
    """Years, and below two of them days; else between birth and recording."""
    age = _last(said, _AGE)
    years, days = age.number(0, 1), age.number(1, 3)
    if years or days:
        stated = days / 365.25 if days and years < 2 else float(years)
        return stated if stated <= OLDEST else None
    try:
        birth = date(age.number(3, 5), age.number(5, 6), age.number(6, 7))
    except ValueError:
        return None
    return age_between(birth, started.date()) if started else None


def _filters(said: dict[int, list[Definition]]) -> Filters:
    found = (_FILTER_TEXT.match(_text(said, each)) for each in said.get(_FILTER, ()))
    return Filters(**{_FILTERS[each[1]]: float(each[2]) for each in found if each and float(each[2])})
