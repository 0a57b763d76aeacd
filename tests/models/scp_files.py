"""SCP-ECG as the tests write it: a small encoder after our own reading of EN 1064, as its corners have no public file.

Tables of Huffman codes of one's own, switches between them, reference beats and bimodal compression are therefore
tested against what the standard says as we understand it, and not against another device; all but the last are also
read by ECGDataKit. All is written with loops and strings of bits, so that nothing of the reader is used to test it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Code = tuple[str, int, int, int]  # bits of the prefix, all bits, 1 for a number or 0 for a switch, value or table

EIGHT = (1, 2, 3, 4, 5, 6, 7, 8)
TWELVE = (*EIGHT, 61, 62, 63, 64)

DEFAULT: list[list[Code]] = [
    [
        ("0", 1, 1, 0),
        *[("1" * size + "00", size + 2, 1, size) for size in range(1, 9)],
        *[("1" * size + "01", size + 2, 1, -size) for size in range(1, 9)],
        ("1111111110", 18, 1, 0),
        ("1111111111", 26, 1, 0),
    ]
]
SWITCHING: list[list[Code]] = [
    [("0", 1, 1, 0), ("10", 2, 1, -1), ("110", 3, 1, 1), ("1110", 4, 0, 2), ("1111", 20, 1, 0)],
    [("00", 2, 1, 0), ("01", 7, 1, 20), ("10", 7, 1, -20), ("110", 11, 1, 0), ("1110", 4, 0, 1), ("1111", 20, 1, 0)],
]
"""Small numbers by the first table, larger ones, around ±20, by the second."""


@dataclass(frozen=True, kw_only=True)
class Beats:
    """A reference beat, (leads, samples) in steps of the rhythm's size, and where it was found.

    Zones are (type, first, fiducial, last), protected areas (first, last), samples counted from 1.
    """

    beat: Steps
    fiducial: int
    zones: Sequence[tuple[int, int, int, int]]
    areas: Sequence[tuple[int, int]]
    decimation: int = 1
    subtracted: bool = True


def crc(data: bytes) -> int:
    """CRC-CCITT, bit by bit: polynomial 0x1021 from 0xFFFF on."""
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1) ^ (0x1021 if value & 0x8000 else 0)
        table.append(value & 0xFFFF)
    value = 0xFFFF
    for byte in data:
        value = (value << 8 & 0xFF00) ^ table[(value >> 8) ^ byte]
    return value


def section(number: int, content: bytes, *, protocol: int = 20, mark: bytes = bytes(6)) -> bytes:
    content += bytes(len(content) % 2)
    head = struct.pack("<HIBB", number, len(content) + 16, 20, protocol) + mark
    return struct.pack("<H", crc(head + content)) + head + content


def record(contents: dict[int, bytes], *, protocol: int = 20) -> bytes:
    """A whole file of these sections."""
    parts = {number: section(number, content, protocol=protocol) for number, content in contents.items()}
    start = 6 + 16 + 120
    pointers, position = struct.pack("<HII", 0, 136, 7), start
    for number in range(1, 12):
        length = len(parts.get(number, b""))
        pointers += struct.pack("<HII", number, length, position + 1 if length else 0)
        position += length
    body = section(0, pointers, protocol=protocol, mark=b"SCPECG") + b"".join(parts[n] for n in sorted(parts))
    tail = struct.pack("<I", len(body) + 6) + body
    return struct.pack("<H", crc(tail)) + tail


def scp(
    steps: Steps,
    *,
    codes: Sequence[int] = TWELVE,
    step: int = 1000,
    interval: int = 2000,
    order: int = 2,
    tables: list[list[Code]] | None = DEFAULT,
    beats: Beats | None = None,
    flags: int | None = None,
    start: int = 1,
    more: dict[int, bytes] | None = None,
    protocol: int = 20,
) -> bytes:
    """(leads, samples) steps of so many nanovolts as a file; `more` are further sections, or others in their stead."""
    count = steps.shape[1]
    ready = [residual(row, beat, beats) for row, beat in zip(steps, beats.beat, strict=True)] if beats else list(steps)
    flags = (4 | len(codes) << 3 & 0xF8 | bool(beats and beats.subtracted)) if flags is None else flags
    decimation = beats.decimation if beats else 1
    contents = {
        1: patient(),
        3: bytes((len(codes), flags)) + b"".join(struct.pack("<IIB", start, start + count - 1, code) for code in codes),
        6: waveform(ready, step, interval * decimation, order, tables, decimation > 1),
    }
    if tables is not None:
        contents[2] = huffman(tables)
    if beats:
        contents[4] = struct.pack("<HHH", beats.beat.shape[1] * interval // 1000, beats.fiducial, len(beats.zones))
        contents[4] += b"".join(struct.pack("<HIII", *zone) for zone in beats.zones)
        contents[4] += b"".join(struct.pack("<II", *area) for area in beats.areas)
        contents[5] = waveform(list(beats.beat), step, interval, order, tables, False)
    return record(contents | (more or {}), protocol=protocol)


def residual(row: Steps, beat: Steps, beats: Beats) -> Steps:
    """What is left of a lead when its beats are taken away, and of the rest one mean for each few samples."""
    left = row.copy()
    if beats.subtracted:
        for kind, first, fiducial, last in beats.zones:
            for sample in range(first, last + 1):
                if kind == 0:
                    left[sample - 1] -= beat[sample - fiducial + beats.fiducial - 1]
    if beats.decimation == 1:
        return left
    stored: list[int] = []
    for first, last in free(beats.areas, len(row)):
        groups = (last - first + 1) // beats.decimation
        for group in range(groups):
            begin = first - 1 + group * beats.decimation
            stored.append(round(float(left[begin : begin + beats.decimation].mean())))
        stored += left[first - 1 + groups * beats.decimation : last].tolist()
        area = next((area for area in beats.areas if area[0] == last + 1), None)
        if area:
            stored += left[area[0] - 1 : area[1]].tolist()
    return np.array(stored)


def free(areas: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """First and last sample before, between and behind the areas."""
    edges = [0, *[edge for area in areas for edge in area], count + 1]
    return [(edges[i] + 1, edges[i + 1] - 1) for i in range(0, len(edges), 2)]


def waveform(
    rows: list[Steps], step: int, interval: int, order: int, tables: list[list[Code]] | None, bimodal: bool
) -> bytes:
    """Section 5 or 6."""
    coded = []
    for row in rows:
        values = differences([int(value) for value in row], order)
        coded.append(raw(values) if tables is None else bits(values, tables))
    lengths = struct.pack(f"<{len(coded)}H", *map(len, coded))
    return struct.pack("<HHBB", step, interval, order, bimodal) + lengths + b"".join(coded)


def differences(x: list[int], order: int) -> list[int]:
    if order == 1:
        return [x[0], *[x[n] - x[n - 1] for n in range(1, len(x))]]
    if order == 2:
        return [x[0], x[1], *[x[n] - 2 * x[n - 1] + x[n - 2] for n in range(2, len(x))]]
    return x


def raw(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def bits(values: list[int], tables: list[list[Code]]) -> bytes:
    """Codes of the current table; another table where the current one would take its longest code, or has none."""
    current, text = 0, []
    for value in values:
        code = shortest(value, tables[current])
        for number, table in enumerate(tables):
            other = shortest(value, table)
            switch = [prefix for prefix, _, data, target in tables[current] if data == 0 and target == number + 1]
            if switch and len(switch[0]) + len(other) < len(code):
                text.append(switch[0])
                current, code = number, other
        text.append(code)
    joined = "".join(text)
    joined += "0" * (-len(joined) % 16)
    return int(joined, 2).to_bytes(len(joined) // 8, "big")


def shortest(value: int, table: list[Code]) -> str:
    found = []
    for prefix, total, data, base in table:
        extra, rest = total - len(prefix), value - base
        if data and (rest == 0 if extra == 0 else -(1 << (extra - 1)) <= rest < 1 << (extra - 1)):
            found.append(prefix + (f"{rest & ((1 << extra) - 1):0{extra}b}" if extra else ""))
    return min(found, key=len)


def huffman(tables: list[list[Code]]) -> bytes:
    """Section 2."""
    if tables is DEFAULT:
        return struct.pack("<H", 19999)
    text = struct.pack("<H", len(tables))
    for table in tables:
        text += struct.pack("<H", len(table))
        for prefix, total, data, value in table:
            text += struct.pack("<BBBhI", len(prefix), total, data, value, int(prefix[::-1], 2))
    return text


def tag(number: int, value: bytes) -> bytes:
    return struct.pack("<BH", number, len(value)) + value


def patient(*, language: int = 0, **others: bytes) -> bytes:
    """Section 1 with a name that nobody may read; `others` are tags such as t4 in the stead of these."""
    machine = bytes(7) + b"\x11" + b"AT-104" + bytes((20, 0xD0, language, 8)) + bytes(18)
    tags = {
        "t0": b"Doe\0",
        "t2": b"P-17\0",
        "t4": struct.pack("<HB", 61, 1),
        "t5": struct.pack("<HBB", 1950, 11, 8),
        "t6": struct.pack("<HB", 70, 2),
        "t7": struct.pack("<HB", 80, 1),
        "t8": b"\x02",
        "t14": machine + b"1.0\0SN1\0SW\0SCP\0\0",
        "t25": struct.pack("<HBB", 2016, 11, 7),
        "t26": bytes((9, 5, 3)),
        "t27": struct.pack("<H", 5),
        "t28": struct.pack("<H", 150),
        "t29": b"\x02",
        "t34": struct.pack("<hH", -300, 0),
    } | others
    return b"".join(tag(int(name[1:]), value) for name, value in tags.items()) + tag(255, b"")


def measurements(*, spikes: int = 0, formula: int = 1) -> bytes:
    """Section 7: RR 800 ms, P 100, PR 160, QRS 90, QT 380 ms; no T axis."""
    block = struct.pack("<5H3h", 100, 200, 260, 350, 640, 45, -30, 999)
    text = struct.pack("<BBHH", 2, spikes, 800, 29999) + block + struct.pack("<5H3h", *[29999] * 8)
    text += struct.pack("<Hh", 120, 300) * spikes + struct.pack("<BBHH", 2, 1, 0, 500) * spikes
    return text + struct.pack("<H", 3) + bytes(3) + struct.pack("<HHHB", 75, 29999, 425, formula)


def statements(number: int, texts: Sequence[bytes]) -> bytes:
    """Section 8, or 11 with its byte for the kind of a statement."""
    parts = [(b"\x02" if number == 11 else b"") + text + b"\0" for text in texts]
    head = b"\x00" + struct.pack("<HBB", 2016, 11, 7) + bytes((9, 5, 3)) + bytes((len(parts),))
    return head + b"".join(struct.pack("<BH", i + 1, len(part)) + part for i, part in enumerate(parts))
