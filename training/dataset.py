"""Dataset: a cohort as the tensors that training reads, split by participant, targets and covariates standardised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor

from models.phenotypes import PHENOTYPES, PREDICTED
from training.cache import cached_ecg, cached_faults, cached_images
from training.check import FaultyCohort, admitted, write_report
from training.cohort import Cohort, CohortError, Fault, rows
from training.config import COVARIATES, Recipe
from training.split import PARTS, Part, Parts, given_or_dealt, labelled

FEWEST_LABELS = 2
"""Participants that a mean and a standard deviation of a phenotype need."""

FEWEST_COMPLETE = 10
"""Calibration visits with every phenotype: more than the seven whose correlation they show, and than the nine below
which no interval of 90 % follows from their errors (⌈(n + 1) · 0.9⌉ ≤ n; Lei et al., J Am Stat Assoc 2018;113:1094)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Tensors of all visits, and which of them belong to which part; row i of everything is visit i of the cohort.

    Attributes
    ----------
    cohort : as it is trained on and measured against: what is wrong with a number of a visit has made it NaN
    faults : what was found wrong with the cohort; what they exclude is in no part
    split : the participants of each part, for the split file
    ecg : (n, 12, samples / decimation) float32 millivolts, preprocessed; mapped from disk
    volumes : anchor ("ed", "es", …) -> (n, slices, rows, columns) uint8; mapped from disk
    cine : (n, frames, rows, columns) uint8, mapped from disk; None where the cohort has none
    targets : (n, phenotypes) standardised natural logarithms; NaN where not measured
    log_mean, log_sd : (phenotypes,) of the labelled part, which undo that
    covariates : (n, 4) in the order of `COVARIATES`, standardised; NaN where unknown
    covariate_mean, covariate_sd : (4,) of the train part; 0 and 1 for sex, which is −1 (F) or +1 (M)
    participants : (n,) int64, the same number for all visits of one participant
    parts : part -> rows
    labelled : rows of the train part whose phenotypes may be read
    sampling_rate : hertz of `ecg`
    """

    cohort: Cohort
    faults: list[Fault]
    split: Parts
    ecg: Tensor
    volumes: Mapping[str, Tensor]
    cine: Tensor | None
    targets: Tensor
    log_mean: Tensor
    log_sd: Tensor
    covariates: Tensor
    covariate_mean: Tensor
    covariate_sd: Tensor
    participants: Tensor
    parts: Mapping[Part, Tensor]
    labelled: Tensor
    sampling_rate: float


def prepare(
    cohort: Cohort, recipe: Recipe, progress: Progress, cache: Path | None = None, processes: int = 1
) -> Dataset:
    """Check everybody, preprocess every ECG exactly as serving will, and standardise; each once for each cohort.

    Parameters
    ----------
    cache : folder of what is computed once; None for `cache` in the folder of the cohort
    processes : that preprocess and check; nothing depends on it

    Raises
    ------
    FaultyCohort
        If something is wrong with the cohort and the recipe says to refuse then.
    CohortError
        If a part has nobody, or nobody's labels may be read.
    """
    cache = cohort.folder / "cache" if cache is None else cache
    faults = cached_faults(cohort, recipe, cache, processes, progress)
    if faults and recipe.split.faults == "refuse":
        raise FaultyCohort(f"{len(faults)} faults, the first: {faults[0]}; see {write_report(cache, faults)[1]}")
    write_report(cache, faults)
    cohort, usable = admitted(cohort, faults)
    split = given_or_dealt(cohort, recipe.split)
    parts = {part: _tensor(_rows(cohort, split[part], usable)) for part in PARTS}
    empty = [part for part in PARTS if not len(parts[part])]
    if empty:
        raise CohortError(f"{usable.sum()} usable visits are too few: nobody falls into {', '.join(empty)}")
    readable = _rows(cohort, labelled(split["train"], recipe.split), usable)
    logarithms = np.log(np.stack([cohort.column(symbol) for symbol in PREDICTED], axis=1))
    log_mean, log_sd = _moments(logarithms[readable], recipe.split.labels)
    covariates = _covariates(cohort)
    mean, sd = _covariate_moments(covariates[parts["train"].numpy()])
    return Dataset(
        cohort=cohort,
        faults=faults,
        split=split,
        ecg=cached_ecg(cohort, recipe, cache, processes, progress),
        volumes={anchor: cached_images(cohort, anchor, cache) for anchor in cohort.volumes},
        cine=None if cohort.cine is None else cached_images(cohort, "cine", cache),
        targets=_float((logarithms - log_mean) / log_sd),
        log_mean=_float(log_mean),
        log_sd=_float(log_sd),
        covariates=_float((covariates - mean) / sd),
        covariate_mean=_float(mean),
        covariate_sd=_float(sd),
        participants=torch.from_numpy(np.unique(cohort.participants, return_inverse=True)[1].astype(np.int64)),
        parts=parts,
        labelled=_tensor(readable),
        sampling_rate=recipe.preprocessing.sampling_rate / recipe.ecg.decimation,
    )


def verify_labels(data: Dataset) -> None:
    """Refuse, before anything is trained, a cohort of which a phenotype cannot be calibrated or measured afterwards.

    Raises
    ------
    CohortError
        With the phenotype and the part that lacks it.
    """
    known = np.isfinite(data.cohort.phenotypes)
    # Without the heart rate at the ECG there is no output to compare with the measured one.
    known[:, list(PHENOTYPES).index("CO")] &= np.isfinite(data.cohort.heart_rate)
    for part in ("calibration", "test"):
        missing = _rarer(known[data.parts[part].numpy()].sum(axis=0), PHENOTYPES)
        if missing:
            raise CohortError(
                f"the {part} part has fewer than {FEWEST_LABELS} visits with a label of {missing}: every phenotype "
                "needs some, to be calibrated and measured"
            )
    complete = int(torch.isfinite(data.targets[data.parts["calibration"]]).all(1).sum())
    if complete < FEWEST_COMPLETE:
        raise CohortError(
            f"the calibration part has {complete} visits with all of {', '.join(PREDICTED)}; how their errors go "
            f"together needs {FEWEST_COMPLETE}: add visits, or raise `calibration` of the split"
        )


def _rarer(counts: NDArray[np.intp], symbols: Iterable[str]) -> str:
    """Which phenotypes fewer than `FEWEST_LABELS` have."""
    return ", ".join(symbol for symbol, count in zip(symbols, counts, strict=True) if count < FEWEST_LABELS)


def _rows(cohort: Cohort, participants: Sequence[str], usable: NDArray[np.bool_]) -> NDArray[np.intp]:
    found = rows(cohort, participants)
    return found[usable[found]]


def _moments(logarithms: NDArray[np.float64], share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each phenotype among those whose labels may be read."""
    different = np.array([len(np.unique(column[np.isfinite(column)])) for column in logarithms.T])
    missing = _rarer(different, PREDICTED)
    if missing:
        mended = "; raise `labels` of the split" if share < 1 else ""
        raise CohortError(
            f"in the train part fewer than {FEWEST_LABELS} different labels may be read of {missing}{mended}"
        )
    return np.nanmean(logarithms, axis=0), np.nanstd(logarithms, axis=0)


def _covariates(cohort: Cohort) -> NDArray[np.float64]:
    """(n, 4) in the order of `COVARIATES`; sex is −1 (F) or +1 (M)."""
    sex = np.select([cohort.sex == "F", cohort.sex == "M"], [-1.0, 1.0], np.nan)
    return np.stack([sex if name == "sex" else getattr(cohort, name) for name in COVARIATES], axis=1)


def _covariate_moments(train: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation; 0 and 1 for sex and for what nobody states, and 1 where all are alike."""
    mean, sd = np.zeros(len(COVARIATES)), np.ones(len(COVARIATES))
    for column, name in enumerate(COVARIATES):
        known = train[np.isfinite(train[:, column]), column]
        if name != "sex" and len(known):
            mean[column], sd[column] = known.mean(), known.std() or 1.0
    return mean, sd


def _tensor(found: NDArray[np.intp]) -> Tensor:
    return torch.from_numpy(found.astype(np.int64))


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
