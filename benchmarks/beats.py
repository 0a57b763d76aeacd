"""Our own beats against the manual marks of LUDB, beside neurokit2's delineator and wfdb's detectors.

    .venv/bin/python benchmarks/beats.py --data ../shared/data/ludb > docs/beats.md

Every method reads the same leads of the same records in turn, on one thread. neurokit2 and wfdb read one lead at a
time, which is what they are made for; where all leads are asked together, the median over the leads is taken of what
neurokit2 finds in each, as it is of the cardiologists' marks. Takes some ten minutes, nearly all of them neurokit2's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import neurokit2
import numpy as np
import wfdb.processing
from threadpoolctl import threadpool_limits

from models.ecg.beats import r_peaks
from models.ecg.fiducials import Fiducials, Wave, delineate, delineate_leads
from models.ecg.measure import measure
from models.ecg.recording import LEADS, Recording
from training.realism.marks import POINTS, RATE, WAVES, Marked, Samples, Score, consensus, ludb_marks, scores
from training.realism.real import ludb_recordings

HEADER = """# Beats: how far from the cardiologists' marks

The 100 records of LUDB beside the repository (12 leads, 10 s, 500 Hz): {marks:,} waves that cardiologists marked by
hand, lead by lead (Kalyakulina et al., IEEE Access 2020;8:186181). A mark is found if it is met within 150 ms
(ANSI/AAMI EC57; Martinez et al., IEEE Trans Biomed Eng 2004;51:570). The constants of `models/ecg/qrs.py`, `bumps.py`
and `fiducials.py` were set on every second record; *other half* is the 50 records on which nothing was set. Written by

    .venv/bin/python benchmarks/beats.py --data ../shared/data/ludb > docs/beats.md

Sensitivity (Se) and positive predictivity (PPV) in percent; bias (found − marked), standard deviation and mean absolute
error (MAE) in milliseconds.
"""
AGREEMENT = """The leads differ, and so do cardiologists from lead to lead: *median of the marks* is how far their own
median over the leads is from their mark in each, which is as near as one answer for all leads could come."""


@dataclass
class Method:
    """What one method found in each record, and how long it took."""

    name: str
    find: Callable[[Recording], Marked]
    found: list[Marked] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def read(self, recording: Recording) -> None:
        """Read one record."""
        start = time.perf_counter()
        self.found.append(self.find(recording))
        self.seconds.append(time.perf_counter() - start)


def ours(fiducials: Fiducials) -> Marked:
    """Our marks, as `training.realism.marks` compares them."""

    def points(wave: Wave) -> list[Samples]:
        stacked = np.stack([wave.onset, wave.peak, wave.offset], axis=-1)
        return list(stacked if stacked.ndim == 3 else stacked[None])

    return {"P": points(fiducials.p), "QRS": points(fiducials.qrs), "T": points(fiducials.t)}


def neurokit(recording: Recording) -> Marked:
    """neurokit2 in each lead: its cleaning, its R peaks, its delineation by discrete wavelets."""
    leads = [_neurokit_lead(row) for row in recording.signal]
    return {wave: [lead[wave] for lead in leads] for wave in WAVES}


def _neurokit_lead(row: np.ndarray) -> dict[str, Samples]:
    nothing = np.zeros((0, 3), np.int64)
    try:
        clean = neurokit2.ecg_clean(row, sampling_rate=RATE)
        _, peaks = neurokit2.ecg_peaks(clean, sampling_rate=RATE)
        beats = peaks["ECG_R_Peaks"]
        _, marks = neurokit2.ecg_delineate(clean, beats, sampling_rate=RATE, method="dwt")
    except (ValueError, IndexError, ZeroDivisionError):  # leads in which it gives up
        return dict.fromkeys(WAVES, nothing)
    columns = {
        "P": ("ECG_P_Onsets", "ECG_P_Peaks", "ECG_P_Offsets"),
        "QRS": ("ECG_R_Onsets", None, "ECG_R_Offsets"),
        "T": ("ECG_T_Onsets", "ECG_T_Peaks", "ECG_T_Offsets"),
    }
    return {
        wave: np.stack([_marks(beats if name is None else marks[name], len(beats)) for name in names], axis=1)
        for wave, names in columns.items()
    }


def _marks(values: Sequence[float], beats: int) -> Samples:
    """Whole samples; -1 for what was not found."""
    padded = np.full(beats, np.nan)
    padded[: len(values)] = np.asarray(values, np.float64)[:beats]
    return np.where(np.isnan(padded), -1, np.nan_to_num(padded)).astype(np.int64)


def detector(detect: Callable[[np.ndarray], Samples]) -> Callable[[Recording], Marked]:
    """A detector of beats in each lead."""

    def find(recording: Recording) -> Marked:
        beats = [np.asarray(detect(row), np.int64) for row in recording.signal]
        none = [np.zeros((0, 3), np.int64)] * len(LEADS)
        return {
            "P": none,
            "QRS": [np.stack([np.full_like(b, -1), b, np.full_like(b, -1)], 1) for b in beats],
            "T": none,
        }

    return find


def xqrs(row: np.ndarray) -> Samples:
    """The detector of wfdb that learns its thresholds."""
    return np.asarray(wfdb.processing.xqrs_detect(row, RATE, verbose=False))


def gqrs(row: np.ndarray) -> Samples:
    """The detector of wfdb after G. Moody's; it reads a converter's steps, here of 1 µV."""
    return np.asarray(
        wfdb.processing.gqrs_detect(d_sig=np.rint(1000 * row).astype(int), fs=RATE, adc_gain=1000, adc_zero=0)
    )


def table(rows: Sequence[tuple[str, dict[tuple[str, str], Score]]]) -> str:
    """One row for each mark and method; a method without a kind of mark has no row."""
    lines = ["| mark | method | marks | Se | PPV | bias | SD | MAE |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for wave in WAVES:
        for point in POINTS:
            for name, score in rows:
                one = score[wave, point]
                if not len(one.errors):
                    continue
                cells = (
                    f"{wave} {point}", name, str(len(one.errors) + one.missed),
                    f"{100 * one.sensitivity:.2f}", f"{100 * one.predictivity:.2f}",
                    f"{one.errors.mean():+.1f}", f"{one.errors.std():.1f}", f"{one.mean_absolute_error:.1f}",
                )  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def beats_alone(recordings: Sequence[Recording], marked: Sequence[Marked]) -> Score:
    """`r_peaks` against the beats that at least half of the leads mark."""
    none = np.zeros((0, 3), np.int64)
    found: list[Marked] = []
    for recording in recordings:
        beats = r_peaks(recording)
        found.append({"P": [none], "QRS": [np.stack([beats, beats, beats], axis=1)], "T": [none]})
    return scores(zip(map(consensus, marked), found, strict=True))["QRS", "peak"]


def milliseconds(calls: Callable[[Recording], object], recordings: Sequence[Recording]) -> float:
    """Median over the records."""
    spent = []
    for recording in recordings:
        start = time.perf_counter()
        calls(recording)
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent)


def report(recordings: Sequence[Recording], marked: Sequence[Marked], methods: Sequence[Method]) -> None:
    """Print the page."""
    print(HEADER.format(marks=sum(len(lead) for record in marked for wave in WAVES for lead in record[wave])))
    us, kit = methods[:2]
    single = [(method.name, scores(zip(marked, method.found, strict=True))) for method in methods]
    half = scores(zip(marked[1::2], us.found[1::2], strict=True))
    agreed = [consensus(record) for record in marked]
    spread = scores(zip(marked, ({w: one[w] * len(LEADS) for w in WAVES} for one in agreed), strict=True))
    print("## Lead by lead\n")
    print(table([single[0], ("ours, other half", half), *single[1:], ("median of the marks", spread)]), "\n")
    print(AGREEMENT, "\n")
    together = [ours(delineate(recording)) for recording in recordings]
    kit_together = [consensus(found) for found in kit.found]
    print("## All leads together, against the median of the marks\n")
    rows = [
        ("ours", scores(zip(agreed, together, strict=True))),
        ("ours, other half", scores(zip(agreed[1::2], together[1::2], strict=True))),
        ("neurokit2 dwt, median of the leads", scores(zip(agreed, kit_together, strict=True))),
    ]
    print(table(rows), "\n")
    alone = beats_alone(recordings, marked)
    print(f"Beats (`r_peaks`): {len(alone.errors)} of {len(alone.errors) + alone.missed} found, {alone.false} false.\n")
    print("## Time\n\nMedian milliseconds for the 12 leads of a record, one thread, same run.\n")
    print("| | ms |\n|---|--:|")
    print(f"| `delineate` | {milliseconds(delineate, recordings):.1f} |")
    print(f"| `measure` | {milliseconds(measure, recordings):.1f} |")
    for method in methods[1:]:
        print(f"| {method.name} | {1000 * statistics.median(method.seconds):.0f} |")


def main() -> None:
    """Read LUDB with every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ludb"))
    parser.add_argument("--records", type=int, default=None, help="only so many, for a try")
    arguments = parser.parse_args()
    recordings = [recording for _, recording in ludb_recordings(arguments.data)][: arguments.records]
    marked = ludb_marks(arguments.data)[: arguments.records]
    methods = [
        Method("ours", lambda recording: ours(delineate_leads(recording))),
        Method("neurokit2 dwt", neurokit),
        Method("wfdb xqrs", detector(xqrs)),
        Method("wfdb gqrs", detector(gqrs)),
    ]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other libraries
        for number, recording in enumerate(recordings, 1):
            for method in methods:
                method.read(recording)
            print(f"{number} of {len(recordings)}", end="\r", file=sys.stderr)
        report(recordings, marked, methods)


if __name__ == "__main__":
    main()
