"""Arms: the recipes of an ablation, each the base recipe with one part of the method left out, added or exchanged."""

from __future__ import annotations

import math
from dataclasses import replace

from training.config import COVARIATES, Anchor, Recipe, Schedule

SCRATCH, LONG_SCRATCH = "from scratch", "from scratch, as many ECG passes"
MASKED, ED, ES, BOTH, BETWEEN = "masked only", "ED only", "ES only", "ED+ES", "ED+ES and ED<->ES"
PEOPLE, WITH_PEOPLE = "covariates only", "ED+ES, covariates"
TAUGHT, UNTAUGHT = "ED+ES, teachers by labels", "ED+ES, teachers without labels"
FROZEN = ", encoder frozen"


def arms(base: Recipe, labels: float, frozen: bool = False) -> dict[str, Recipe]:
    """Name -> recipe, for training that may read this share of the labels.

    CMR encoders learn without labels wherever labels are scarce, so that no arm reads more of them than another; the
    base decides where all may be read, and the other way to teach them is an arm of its own.

    Parameters
    ----------
    frozen : also with the encoder frozen while the heads learn; of "from scratch" these are random features
    """
    base = replace(base, split=replace(base.split, labels=labels))
    shown = base if labels == 1 else replace(base, teacher=replace(base.teacher, by="masked"))
    unaligned = replace(base, pretraining=_none(base.pretraining), cmr_schedule=_none(base.cmr_schedule))
    scratch = replace(unaligned, masked_schedule=_none(base.masked_schedule))
    found = {
        SCRATCH: scratch,
        LONG_SCRATCH: replace(scratch, finetuning=_as_many_passes(base, labels)),
        MASKED: replace(unaligned, masked_schedule=_masked(base)),
        ED: _anchored(shown, "ed"),
        ES: _anchored(shown, "es"),
        BOTH: _anchored(shown, "ed", "es"),
        BETWEEN: _anchored(shown, "ed", "es", between=1.0),
        PEOPLE: replace(scratch, heads=replace(base.heads, ecg=False, covariates=COVARIATES)),
        WITH_PEOPLE: replace(_anchored(shown, "ed", "es"), heads=replace(base.heads, covariates=COVARIATES)),
    }
    both = _anchored(base, "ed", "es")
    if shown.teacher.by == "masked":
        found[TAUGHT] = replace(both, teacher=replace(base.teacher, by="phenotypes"))
    else:
        found[UNTAUGHT] = replace(both, teacher=replace(base.teacher, by="masked"))
    if frozen:
        found |= {
            name + FROZEN: replace(recipe, heads=replace(recipe.heads, encoder_slowdown=0.0))
            for name, recipe in found.items()
            if recipe.heads.ecg and name != LONG_SCRATCH
        }
    return found


def _anchored(recipe: Recipe, *names: str, between: float = 0.0) -> Recipe:
    anchors = tuple(Anchor(name=name) for name in names)
    return replace(recipe, contrast=replace(recipe.contrast, anchors=anchors, between=between))


def _none(schedule: Schedule) -> Schedule:
    return replace(schedule, epochs=0)


def _masked(base: Recipe) -> Schedule:
    """The base's own schedule, or as many epochs as the contrastive stage has where the base has no masked stage."""
    return replace(base.masked_schedule, epochs=base.masked_schedule.epochs or base.pretraining.epochs)


def _as_many_passes(base: Recipe, labels: float) -> Schedule:
    """As many ECGs through the encoder as all stages of the base show it, of which only the labelled are there."""
    before = base.masked_schedule.epochs + base.pretraining.epochs
    return replace(base.finetuning, epochs=base.finetuning.epochs + math.ceil(before / labels))
