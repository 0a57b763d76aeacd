"""The model card: the manifest, told to a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter

from models.bundle import ConditionModel, Manifest, Performance, Speed, Variant, VariantError
from models.conditions import CONDITIONS
from training.config import Recipe, recipe_of
from training.proportion import excluding, wilson

WHOLE = ("all", "normal")
"""Groups of which everything is told."""

IN_SUBGROUPS = ("LVEF", "LVEDV", "LVM", "RVEF")

_OF_SIMULATED_HEARTS = (
    "> **Simulated hearts.** Every ECG and every cardiac MRI this model learnt from was computed; none was measured on "
    "a person. It is **not a medical device**. Never compare its figures with those of UK Biobank or of any other "
    "cohort of people."
)
_OF_PEOPLE = "> It is **not a medical device**: not for diagnosis or treatment."


def card(manifest: Manifest) -> str:
    """The card as Markdown; every number in it comes from the manifest."""
    people = "simulated participants" if manifest.simulated else "participants"
    sections = (
        f"# {manifest.name} {manifest.version}\n\n{_OF_SIMULATED_HEARTS if manifest.simulated else _OF_PEOPLE}",
        f"## What it does\n\n{_purpose(manifest)}",
        f"## Intended use\n\n{manifest.intended_use}\n\n{_bullets(manifest.limits)}",
        f"## How it was trained\n\n{_training(manifest)}",
        f"## How well it does, on {people} it never saw\n\n{_performance(manifest)}",
        f"## How sure it is\n\n{_certainty(manifest)}",
        f"## Conditions\n\n{_conditions(manifest.conditions)}",
        f"## In fewer bits\n\n{_variants(manifest.variants)}",
        f"## Which heart is it? Retrieval\n\n{_retrieval(manifest)}",
        f"## Rebuild it\n\n{_rebuild(manifest)}",
    )
    return "\n\n".join(sections) + "\n"


def _purpose(manifest: Manifest) -> str:
    numbers = manifest.input.preprocessing
    symbols = ", ".join(output.symbol for output in manifest.outputs)
    return (
        f"From a 12-lead resting ECG of {manifest.input.min_duration:g} s or more it predicts {symbols}, each with an "
        f"interval, and an embedding of {manifest.embedding.size} numbers; stroke volumes, ejection fractions and "
        "cardiac output are derived from these by definition. The ECG is brought to "
        f"{numbers.sampling_rate:g} Hz, filtered from {numbers.high_pass:g} to {numbers.low_pass:g} Hz "
        f"(Butterworth, order {numbers.order}, zero phase) and read for {numbers.duration:g} s, in millivolts. "
        f"{_beside(manifest)} "
        f"Nothing is said of people younger than {manifest.min_age:g} years or of paced hearts."
    )


def _beside(manifest: Manifest) -> str:
    names = ", ".join(covariate.name for covariate in manifest.input.covariates)
    if not names:
        return "It reads the ECG and nothing else."
    return f"Beside the ECG it reads {names}, as far as each is known; a report names those that it had."


def _training(manifest: Manifest) -> str:
    facts = {key: value for key, value in manifest.training.items() if not isinstance(value, dict)}
    told = _bullets(f"{key.replace('_', ' ')}: {value}" for key, value in facts.items())
    return _steps(recipe_of(manifest)) + "\n\n" + _probes(manifest) + told


def _probes(manifest: Manifest) -> str:
    """What a linear reader finds in the frozen CMR features: what the ECG encoder could learn from them."""
    shown = TypeAdapter(dict[str, dict[str, float]]).validate_python(manifest.training.get("cmr_encoders_show", {}))
    lines = [
        f"The frozen CMR encoder of {anchor.upper()} shows a linear reader (R², validation part): "
        + ", ".join(f"{symbol} {r2:.2f}" for symbol, r2 in found.items())
        for anchor, found in shown.items()
    ]
    return _bullets(lines) + "\n" if lines else ""


def _steps(recipe: Recipe) -> str:
    """The stages that this recipe has, in their order."""
    anchors = " and ".join(anchor.name.upper() for anchor in recipe.contrast.anchors)
    lessons = {
        "phenotypes": "to measure its volume, supervised",
        "masked": "to complete volumes of which most was hidden",
    }
    steps = []
    if recipe.masked_schedule.epochs:
        steps.append("The ECG encoder first learnt to complete ECGs of which most was hidden.")
    if recipe.pretraining.epochs:
        steps.append(
            f"A CMR encoder of each anchor ({anchors}) learnt {lessons[recipe.teacher.by]}, and was frozen. The ECG "
            "encoder then learnt to find its own heart among others by every anchor (contrastive, each pair with a "
            "temperature of its own)."
        )
    steps.append(
        "Heads for mean and SD of the log phenotypes came last, the encoder "
        + ("frozen." if recipe.heads.encoder_slowdown == 0 else "learning on.")
        + " The recipe stands in `manifest.json`."
    )
    return " ".join(steps)


def _performance(manifest: Manifest) -> str:
    legend = (
        "In brackets after R²: 95 % bootstrap interval over participants. Ceiling: the R² that the noise of ECG and "
        "CMR leaves to the best model there could be, estimated; – where it was not measured."
    )
    tables = [
        f"**{group}** (n = {rows[0].n})\n\n" + _table(rows)
        for group in WHOLE
        if (rows := [row for row in manifest.performance if row.group == group])
    ]
    ranked = [
        f"{row.condition}, {row.group}: AUROC {row.auroc:.3f} ({row.positives} of {row.n})"
        for row in manifest.discrimination
        if row.group in WHOLE
    ]
    return "\n\n".join([legend, *tables, _bullets(ranked), _subgroups(manifest.performance)])


def _subgroups(rows: Sequence[Performance]) -> str:
    """The error of a few phenotypes in every other group."""
    errors = {(row.group, row.symbol): row for row in rows if row.group not in WHOLE}
    groups = dict.fromkeys(group for group, _ in errors)
    if not groups:
        return "Subgroups were too small to be reported."
    head = f"| group | {' | '.join(IN_SUBGROUPS)} |\n|" + "---|" * (1 + len(IN_SUBGROUPS))
    lines = [
        f"| {group} | " + " | ".join(_error(errors.get((group, symbol))) for symbol in IN_SUBGROUPS) + " |"
        for group in groups
    ]
    return "MAE, that of the mean of all, and n in each subgroup:\n\n" + "\n".join([head, *lines])


def _error(row: Performance | None) -> str:
    return "–" if row is None else f"{row.mae:.1f} {row.unit} ({row.mean_predictor_mae:.1f}), {row.n}"


def _table(rows: Sequence[Performance]) -> str:
    titles = ("phenotype", "R²", "ceiling", "r", "MAE", "MAE of the mean", "SD of target", "bias (limits of agreement)")
    head = f"| {' | '.join(titles)} |\n|" + "---|" * len(titles)
    lines = [
        f"| {row.symbol}, {row.unit} | {_with_interval(row)} | {_ceiling(row)} "
        f"| {row.r:.2f} | {row.mae:.2f} | {row.mean_predictor_mae:.2f} "
        f"| {row.target_sd:.2f} | {row.bias:.2f} "
        f"({row.limits_of_agreement[0]:.1f} to {row.limits_of_agreement[1]:.1f}) |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def _with_interval(row: Performance) -> str:
    return f"{row.r2:.2f}" + ("" if row.r2_interval is None else " ({:.2f} to {:.2f})".format(*row.r2_interval))


def _ceiling(row: Performance) -> str:
    return "–" if row.ceiling is None else f"{row.ceiling:.2f}"


def _certainty(manifest: Manifest) -> str:
    interval = manifest.interval
    covered = ", ".join(f"{symbol} {share:.0%}" for symbol, share in interval.coverage.items())
    near = sum(abs(share - manifest.interval.level) <= 0.02 for share in manifest.interval.coverage.values())
    return (
        f"Intervals are meant to cover {interval.level:.0%} of participants ({interval.method}). On the test split, "
        f"which neither fitted nor stretched them, they covered: {covered}; within "
        f"two points are {near} of {len(manifest.interval.coverage)}.\n\n"
        f"{_worst(manifest)}\n\nAn ECG is flagged as unlike the training data from a score of "
        f"{manifest.ood.threshold:.3g} on ({manifest.ood.method})."
    )


def _worst(manifest: Manifest) -> str:
    level = manifest.interval.level
    subgroups = [row for row in manifest.interval.subgroups if row.group != "all"]
    if not subgroups:
        return "Their coverage in subgroups was not measured."
    worst = min(subgroups, key=lambda row: row.coverage)
    low, high = wilson(worst.coverage, worst.n)
    off = excluding(level, [(row.coverage, row.n) for row in subgroups])
    return (
        f"Coverage holds on average over everybody, not in every subgroup. The worst is {worst.symbol} in the group "
        f"“{worst.group}”: {worst.coverage:.0%} ({low:.0%} to {high:.0%}) of {worst.n}. The 95 % interval (Wilson) "
        f"excludes {level:.0%} in {off} of {len(subgroups)} pairs of group and phenotype ({off / len(subgroups):.0%}; "
        "chance alone would make it about 5 %); all are in `manifest.json`."
    )


def _conditions(models: Sequence[ConditionModel]) -> str:
    if not models:
        return "None: the splits hold too few participants with and without any of them."
    head = "| condition | n | positive | AUROC | Brier | calibration slope, intercept |\n|" + "---|" * 6
    lines = [
        f"| {model.code} | {model.n} | {model.positives} ({model.prevalence:.1%}) | {model.auroc:.3f} "
        f"| {model.brier:.3f} | {model.calibration_slope:.2f}, {model.calibration_intercept:.2f} |"
        for model in models
    ]
    meaning = _bullets(f"{model.code}: {CONDITIONS[model.code].definition}" for model in models)
    return (
        "Each probability follows from the estimates of the same report (joint log-normal errors) and was calibrated "
        "on the calibration split (logistic regression on its score); the figures are those of the test split, at its "
        "prevalence, which is that of no clinic. A slope of 1 and an intercept of 0 are perfect.\n\n"
        f"{meaning}\n\n" + "\n".join([head, *lines])
    )


def _variants(variants: Sequence[Variant]) -> str:
    if not variants:
        return "The bundle holds the graph in float32 alone."
    return "\n\n".join(_variant(variant) for variant in variants)


def _variant(variant: Variant) -> str:
    head = "| phenotype | mean difference | largest | largest, of half the interval |\n|" + "---|" * 4
    lines = [f"| {error.symbol} | {error.mean:.2%} | {error.max:.2%} | {_share(error)} |" for error in variant.errors]
    return (
        f"**{variant.precision}** (`{variant.file}`): {variant.method}. Against float32, on {variant.n} ECGs of the "
        f"calibration split, of which {variant.ood_agreement:.1%} keep their familiarity flag:\n\n"
        + "\n".join([head, *lines])
        + "".join(f"\n\n{_speed(row)}" for row in variant.speed)
    )


def _share(error: VariantError) -> str:
    return "not measured" if error.interval_share is None else f"{error.interval_share:.1%}"


def _speed(speed: Speed) -> str:
    return (
        f"{speed.ratio:.2f} times as fast as float32 on {speed.provider} ({speed.engine}): {speed.milliseconds:.2f} "
        f"ms, the lower quartile of {speed.rounds} calls in turn, batches of {speed.batch}, {speed.threads} thread of "
        f"{speed.processor}."
    )


def _retrieval(manifest: Manifest) -> str:
    head = "| query | among | n | R@1 | R@5 | R@10 |\n|" + "---|" * 6
    lines = [
        f"| {row.query} | {row.gallery} | {row.n} | "
        + " | ".join(f"{row.recall[k]:.1%} (chance {row.chance[k]:.1%})" for k in row.recall)
        + " |"
        for row in manifest.retrieval
    ]
    return "\n".join([head, *lines])


def _rebuild(manifest: Manifest) -> str:
    facts = manifest.training
    threads, made = facts["threads"], facts["made"]
    with_recipe = f"--recipe manifest.json --threads {threads}"
    if manifest.simulated and isinstance(made, dict):
        cohort = (
            f"--participants {facts['participants']} --seed {made['seed']} --setting {made['setting']} --out cohort"
        )
        commands = f"python -m training simulate {cohort}\npython -m training train cohort --work run {with_recipe}"
    else:
        commands = f"python -m training train COHORT --work run {with_recipe}"
    return (
        f"```\n{commands}\npython -m training export run/checkpoint.pt --out artifacts\n```\n\nThe same code (version "
        f"{facts['code_version']}, torch {facts['torch_version']}), machine and number of threads give the same "
        "weights, bit by bit."
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
