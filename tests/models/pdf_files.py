"""PDF reports as the tests write them: a page of text and straight lines, on paper of any speed and gain."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

MM = 72 / 25.4
STATED = "25 mm/s 10 mm/mV"
FIRST = 60.0
"""Points from the left edge to the first curve."""


def report(
    signal: NDArray[np.float64],
    *,
    rate: float = 500.0,
    columns: int = 1,
    speed: float = 25.0,
    gain: float = 10.0,
    text: str = STATED,
    pulses: bool = False,
    strip: bool = False,
    leads: Sequence[str] = LEADS,
) -> bytes:
    """Leads of `signal`, which are in the order of `LEADS`, in so many columns of equal time, row below row."""
    samples = signal.shape[1] // columns
    rows = -(-len(leads) // columns)
    spacing = 500.0 / (rows + strip)
    width = samples / rate * speed * MM
    drawn = [words(FIRST, 570, text)]
    for number, lead in enumerate(leads):
        column, row = divmod(number, rows)
        piece = signal[LEADS.index(lead), column * samples : (column + 1) * samples]
        left, zero = FIRST + column * width, 540 - (row + 0.5) * spacing
        drawn += [words(left + 2, zero + 0.2 * spacing, lead), curve(piece, left, zero, rate, speed, gain)]
    for row in range(rows if pulses else 0):
        drawn.append(pulse(540 - (row + 0.5) * spacing, speed, gain))
    if strip:
        drawn += [words(FIRST + 2, 540 - (rows + 0.3) * spacing, "II")]
        drawn.append(curve(signal[1], FIRST, 540 - (rows + 0.5) * spacing, rate, speed, gain))
    return pdf("\n".join(drawn).encode())


def words(x: float, y: float, text: str) -> str:
    return f"BT /F1 8 Tf {x:.2f} {y:.2f} Td ({text}) Tj ET"


def curve(row: NDArray[np.float64], left: float, zero: float, rate: float, speed: float, gain: float) -> str:
    x = left + np.arange(len(row)) / rate * speed * MM
    return line(x, zero + row * gain * MM)


def pulse(zero: float, speed: float, gain: float) -> str:
    x = FIRST - 50 + np.array([0, 0.04, 0.04, 0.24, 0.24, 0.28]) * speed * MM
    return line(x, zero + np.array([0, 0, 1, 1, 0, 0]) * gain * MM)


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    points = [f"{a:.4f} {b:.4f}" for a, b in zip(x, y, strict=True)]
    return f"{points[0]} m\n" + "".join(f"{point} l\n" for point in points[1:]) + "S"


def pdf(content: bytes, *, compressed: bool = True, width: int = 900, inside: bytes = b"") -> bytes:
    """One page that draws this."""
    body = zlib.compress(content) if compressed else content
    filtered = b" /Filter /FlateDecode" if compressed else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d 600] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> /XObject << /X1 6 0 R >> >> >>" % width,
        b"<< /Length %d%b >>\nstream\n%b\nendstream" % (len(body), filtered, body),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        inside or b"<< >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return out + head + table + trailer
