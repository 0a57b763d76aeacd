"""Fit `training.simulate.calibration` to the median healthy ECG, and print the fitted constants.

    .venv/bin/python benchmarks/calibrate.py --hearts 80 --rounds 4

Gauss-Newton on noise-free beats of simulated normals, always the same hearts, so that a change of a constant is all
that changes. Each residual is the distance of a median or a tail from its published target, in tolerances. A round
takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count, islice
from multiprocessing import Pool
from pprint import pprint

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from threadpoolctl import threadpool_limits

from models.ecg.recording import INDEPENDENT_LEADS, LEADS, twelve_leads
from training.simulate.calibration import CALIBRATION, Calibration
from training.simulate.electrics import Beat
from training.simulate.heart import heart_of, stream
from training.simulate.population import sample_subject
from training.simulate.torso import LeadField, sample_slips, torso_lead_field

Array = NDArray[np.float64]

SCALARS = {
    "fibre_speed": 0.04, "cross_speed": 0.02, "muscle": 0.04, "purkinje": 0.15, "right_purkinje": 0.1,
    "purkinje_end": 0.05, "right_purkinje_end": 0.1, "right_delay": 2.0, "amplitude": 0.1, "right_wall": 0.1,
    "blood": 0.05, "repolarisation": 0.15, "droop": 0.03, "left_notch": 0.01, "right_notch": 0.01,
    "by_activation": 0.15, "transmural": 6.0, "transmural_female": 6.0, "septal_gradient": 0.2,
    "right_gradient": 0.2, "apex_base": 5.0, "right": 5.0, "lateral": 5.0, "anterior": 5.0, "azimuth": 6.0,
    "elevation": 5.0,
}  # fmt: skip
"""Each constant that may move, and how far it is moved without regret: the unit of the prior that holds it."""
PLACE, TO_SEPTUM, ROOT = np.array([8.0, 0.06, 10.0]), np.array([0.12, 0.12, 0.12]), np.array([10.0, 0.08, 2.0])

MEDIANS = {
    "QRS": (90.0, 1.5), "axis": (38.0, 8.0),
    "R I": (0.55, 0.06), "R II": (0.85, 0.1), "R III": (0.45, 0.06), "R aVL": (0.35, 0.05), "R aVF": (0.60, 0.07),
    "R V1": (0.20, 0.025), "S V1": (0.90, 0.1), "R V2": (0.45, 0.05), "S V2": (1.40, 0.15), "R V3": (0.85, 0.1),
    "S V3": (1.00, 0.12), "R V4": (1.40, 0.16), "S V4": (0.60, 0.07), "R V5": (1.40, 0.16), "S V5": (0.30, 0.06),
    "R V6": (1.10, 0.12), "S V6": (0.15, 0.06),
    "Q I": (0.03, 0.02), "Q aVL": (0.05, 0.03), "Q V5": (0.05, 0.02), "Q V6": (0.06, 0.02), "Q aVF": (0.04, 0.03),
    "peak V5": (41.0, 3.0), "peak V6": (43.0, 3.0), "peak V2": (22.0, 5.0),
    "ST V1": (0.03, 0.015), "ST V2": (0.045, 0.015), "ST V3": (0.04, 0.015), "ST V5": (0.01, 0.01),
    "T I": (0.20, 0.02), "T II": (0.28, 0.03), "T III": (0.10, 0.012), "T aVR": (-0.25, 0.03), "T V1": (0.08, 0.015),
    "LBBB QRS": (150.0, 8.0), "LBBB T V6": (-0.25, 0.08), "LBBB T V1": (0.4, 0.15), "LBBB T I": (-0.2, 0.08),
    "T V2": (0.40, 0.025), "T V3": (0.42, 0.05), "T V4": (0.42, 0.05), "T V5": (0.34, 0.04), "T V6": (0.26, 0.03),
}  # fmt: skip
"""Target and tolerance (about a tenth) of each median; ms, degrees, mV.

R, S, T and the duration after Rijnbeek et al. 2014; of its 92 ms a recorder's delineation adds two. Q, ST and the time
to the peak of R: the normal records of LUDB and CinC 2021 as `training.realism` measures them. Left bundle branch
block: a wide complex with a discordant T wave (AHA/ACC/HRS part III, Surawicz 2009); the size is ours."""
CEILINGS = {
    ("QRS", 0.95): (106.0, 2.0), ("R/S V1", 0.95): (0.7, 0.1), ("T V1", 0.2): (0.0, 0.02),
    ("biphasic T", 0.5): (0.05, 0.015), ("biphasic T", 0.9): (0.15, 0.03),
}  # fmt: skip
FLOORS = {
    ("T I", 0.03): (0.05, 0.02), ("T II", 0.03): (0.05, 0.02), ("T V4", 0.03): (0.05, 0.02),
    ("T V5", 0.03): (0.05, 0.02), ("T V6", 0.03): (0.05, 0.02), ("axis", 0.02): (-25.0, 5.0),
}  # fmt: skip
"""(feature, quantile) -> limit and tolerance: tails that must stay below, or above."""

UPRIGHT = ("I", "II", "V2", "V3", "V4", "V5", "V6")
"""Leads in which T has one direction in healthy people."""

HERE = 10.0
"""Where the unit-free constants start: the finite differences of scipy are relative, so they must not start at 0."""

Features = dict[str, float]


def seeds() -> Iterator[int]:
    """Seeds of participants without disease."""
    return (s for s in count() if sample_subject(stream(s, "population")).disease.pathology == "normal")


def features(beat: Beat) -> Features:
    """Noise-free amplitudes (mV) against the start of the QRS complex, its duration (ms) and axis (degrees)."""
    qrs, both = (_twelve(wave) for wave in (beat.qrs, beat.qrs + beat.t))
    moving = np.abs(np.diff(qrs, axis=1)).sum(0)
    (samples,) = np.nonzero(moving > 0.02 * moving.max())
    start, end = int(samples[0]), int(samples[-1]) + 1
    level = both[:, [start - 2]]
    complex_, t_wave = both[:, start - 2 : end + 2] - level, both[:, end + 60 :]
    found: Features = {"QRS": end - start}
    for lead, wave, late in zip(LEADS, complex_, t_wave, strict=True):
        peak = int(wave.argmax()) if wave.max() > 0.02 else 0
        found[f"R {lead}"], found[f"peak {lead}"] = max(wave.max(), 0.0), peak - 2
        found[f"Q {lead}"], found[f"S {lead}"] = max(-wave[: peak + 1].min(), 0.0), max(-wave[peak:].min(), 0.0)
        found[f"ST {lead}"], found[f"T {lead}"] = float(late[0]), float(late[np.abs(late).argmax()])
    found["biphasic T"] = float(np.mean([_biphasic(t_wave[LEADS.index(lead)]) for lead in UPRIGHT]))
    for lead in ("V1", "V2", "V3"):  # their R may be a second one, after the S
        found[f"S {lead}"] = max(found[f"Q {lead}"], found[f"S {lead}"])
    found["R/S V1"] = found["R V1"] / max(found["S V1"], 0.05)
    found["axis"] = float(np.degrees(np.arctan2(2 / np.sqrt(3) * complex_[5].sum(), complex_[0].sum())))
    return found


def _biphasic(t_wave: Array) -> float:
    """How far T goes the other way, relative to how far it goes its own."""
    upright = t_wave * np.sign(t_wave[np.abs(t_wave).argmax()])
    return float(max(-upright.min(), 0.0) / (upright.max() + 0.02))


def _twelve(wave: Array) -> Array:
    signal, _, _ = twelve_leads(dict(zip(INDEPENDENT_LEADS, wave, strict=True)))
    return signal


def measure(calibration: Calibration, heart: tuple[int, LeadField]) -> Features:
    """Features of one heart, whose lead field no constant changes, and of the same heart without its left bundle."""
    seed, field = heart
    generator = heart_of(seed, calibration=calibration).seen_by(field)
    blocked = replace(generator, disease=replace(generator.disease, left_bundle=False)).conducted()
    block = {f"LBBB {name}": value for name, value in features(blocked).items()}
    return features(generator.conducted()) | block


def lead_field_of(seed: int) -> LeadField:
    """What the electrodes of one participant see."""
    heart = heart_of(seed)
    return torso_lead_field(heart.torso, sample_slips(stream(seed, "electrodes")), heart.lie.conductivity)


def moved(by: Array) -> Calibration:
    """The calibration `by` units away from the present one."""
    scalar, place, septum, roots = np.split(by, np.cumsum([len(SCALARS), 3, 3]))
    changed = {
        name: getattr(CALIBRATION, name) + s * u for (name, u), s in zip(SCALARS.items(), scalar.tolist(), strict=True)
    }
    turned = [
        replace(root, angle=root.angle + step[0], height=root.height + step[1], delay=root.delay + step[2])
        for root, step in zip(CALIBRATION.roots, (roots.reshape(-1, 3) * ROOT).tolist(), strict=True)
    ]
    x, y, z = (np.array(CALIBRATION.place) + place * PLACE).tolist()
    a, b, c = (np.array(CALIBRATION.to_septum) + septum * TO_SEPTUM).tolist()
    return replace(CALIBRATION, **changed, place=(x, y, z), to_septum=(a, b, c), roots=tuple(turned))


def residuals(found: list[Features]) -> Array:
    """Distances from the targets, in tolerances; tails count only where they are on the wrong side."""

    def quantile(name: str, share: float) -> float:
        return float(np.quantile([row[name] for row in found], share))

    medians = [(quantile(name, 0.5) - target) / unit for name, (target, unit) in MEDIANS.items()]
    above = [max(0.0, (quantile(*key) - limit) / unit) for key, (limit, unit) in CEILINGS.items()]
    below = [max(0.0, (limit - quantile(*key)) / unit) for key, (limit, unit) in FLOORS.items()]
    return np.array([*medians, *above, *below])


def show(found: list[Features]) -> None:
    """Each target beside what the simulator gives."""
    for name, (target, _) in MEDIANS.items():
        low, middle, high = np.quantile([row[name] for row in found], [0.02, 0.5, 0.98])
        far = "" if abs(middle / target - 1) < 0.25 else "  <"
        print(f"{name:9}{target:8.2f}{middle:8.2f}  ({low:.2f} to {high:.2f}){far}")
    for (name, share), (limit, _) in {**CEILINGS, **FLOORS}.items():
        print(f"{share:.2f} quantile of {name:9}{limit:8.2f}{np.quantile([row[name] for row in found], share):8.2f}")


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearts", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3, help="Gauss-Newton steps; 0 only shows where we are")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--prior", type=float, default=0.5, help="weight that holds each constant where it is")
    given = parser.parse_args()
    with Pool(given.processes, initializer=partial(threadpool_limits, 1)) as pool:
        chosen = list(islice(seeds(), given.hearts))
        hearts = list(zip(chosen, pool.map(lead_field_of, chosen), strict=True))

        def distance(by: Array) -> Array:
            found = pool.map(partial(measure, moved(by - HERE)), hearts, chunksize=5)
            return np.concatenate([residuals(found), given.prior * (by - HERE)])

        best = np.full(len(SCALARS) + 6 + 3 * len(CALIBRATION.roots), HERE)
        if given.rounds:
            fit = least_squares(
                distance, best, diff_step=0.2 / HERE, loss="soft_l1", max_nfev=given.rounds + 1,
                verbose=2, bounds=(HERE - 4.0, HERE + 4.0),
            )  # fmt: skip
            best = fit.x
        show(pool.map(partial(measure, moved(best - HERE)), hearts))
    pprint(moved(best - HERE))


if __name__ == "__main__":
    main()
