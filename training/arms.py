"""Arms: the recipes of an ablation, which differ in the stages before the heads, in their anchors, or in covariates.

Before the heads come, from scratch: nothing; masked only: the ECG encoder completes ECGs; ED, ES or both: CMR encoders
are taught, then the ECG encoder learns by contrast with them. No arm has both the masked stage and the contrast, not
even where the base recipe does: what is compared is one with the other.
"""

from __future__ import annotations

from dataclasses import replace

from training.config import COVARIATES, Anchor, Recipe, Schedule

SCRATCH, LONG_SCRATCH = "from scratch", "from scratch, as many ECG passes"
MASKED, ED, ES, BOTH, BETWEEN = "masked only", "ED only", "ES only", "ED+ES", "ED+ES and ED<->ES"
PEOPLE, WITH_PEOPLE = "covariates only", "ED+ES, covariates"
UNTAUGHT = "ED+ES, CMR encoders without labels"
FROZEN = ", encoder frozen"

SCARCE_BATCH, SCARCE_STEPS = 32, 40
"""Batch and batches of an epoch where labels are few."""


def arms(base: Recipe, labels: float, frozen: bool = False) -> dict[str, Recipe]:
    """Name -> recipe, for training whose heads may read this share of the labels.

    As published, CMR encoders read the labels of everybody, so that at small shares the aligned arms know more than
    the others; one arm has CMR encoders that never saw a label.

    Parameters
    ----------
    frozen : also with the encoder frozen while the heads learn; of "from scratch" these are random features
    """
    base = replace(
        base,
        split=replace(base.split, labels=labels),
        finetuning=_scarce(base.finetuning) if labels < 1 else base.finetuning,
        teacher=replace(base.teacher, by="phenotypes", every_label=True),
    )
    unaligned = replace(base, pretraining=_none(base.pretraining))
    scratch = replace(unaligned, masked_schedule=_none(base.masked_schedule))
    aligned = replace(base, masked_schedule=_none(base.masked_schedule))
    both = _anchored(aligned, "ed", "es")
    found = {
        SCRATCH: scratch,
        MASKED: replace(unaligned, masked_schedule=_masked(base)),
        ED: _anchored(aligned, "ed"),
        ES: _anchored(aligned, "es"),
        BOTH: both,
        BETWEEN: _anchored(aligned, "ed", "es", between=1.0),
        UNTAUGHT: replace(both, teacher=replace(base.teacher, by="masked", every_label=False)),
        PEOPLE: replace(scratch, heads=replace(base.heads, ecg=False, covariates=COVARIATES)),
        WITH_PEOPLE: replace(both, heads=replace(base.heads, covariates=COVARIATES)),
    }
    if labels == 1:
        found[LONG_SCRATCH] = replace(scratch, finetuning=_as_many_passes(base))
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


def _scarce(schedule: Schedule) -> Schedule:
    """Few labels pass several times an epoch, so that the heads of every arm are trained to the end."""
    return replace(schedule, batch=min(schedule.batch, SCARCE_BATCH), min_steps=max(schedule.min_steps, SCARCE_STEPS))


def _masked(base: Recipe) -> Schedule:
    """The base's own schedule, or as many epochs as the contrastive stage has where the base has no masked stage."""
    return replace(base.masked_schedule, epochs=base.masked_schedule.epochs or base.pretraining.epochs)


def _as_many_passes(base: Recipe) -> Schedule:
    """As many ECGs through the encoder as the contrastive stage and the heads show it; all of them labelled."""
    return replace(base.finetuning, epochs=base.finetuning.epochs + base.pretraining.epochs)
