"""The model card: the manifest, told to a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.bundle import Manifest, Performance

_WARNING = (
    "> **Simulated hearts.** Every ECG and every cardiac MRI this model learnt from was computed; none was measured on "
    "a person. It is **not a medical device**. Never compare its figures with those of UK Biobank or of any other "
    "cohort of people."
)


def card(manifest: Manifest) -> str:
    """The card as Markdown; every number in it comes from the manifest."""
    sections = (
        f"# {manifest.name} {manifest.version}\n\n{_WARNING}",
        f"## What it does\n\n{_purpose(manifest)}",
        f"## Intended use\n\n{manifest.intended_use}\n\n{_bullets(manifest.limits)}",
        f"## How it was trained\n\n{_training(manifest)}",
        f"## How well it does, on simulated participants it never saw\n\n{_performance(manifest)}",
        f"## How sure it is\n\n{_certainty(manifest)}",
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
        f"Nothing is said of people younger than {manifest.min_age:g} years or of paced hearts."
    )


def _training(manifest: Manifest) -> str:
    facts = {key: value for key, value in manifest.training.items() if not isinstance(value, dict)}
    steps = (
        "An encoder of each CMR phase (end-diastole, end-systole) first learnt to measure its volume, supervised. The "
        "ECG encoder then learnt to find the own heart among others, against both phases at once (symmetric InfoNCE "
        "for each pair, each with its own temperature; the CMR features were frozen and cached). Heads for mean and SD "
        "of the log phenotypes were fitted last, the encoder following at a lower rate. The recipe stands in "
        "`manifest.json`."
    )
    return steps + "\n\n" + _bullets(f"{key.replace('_', ' ')}: {value}" for key, value in facts.items())


def _performance(manifest: Manifest) -> str:
    tables = [
        f"**{group}** (n = {rows[0].n})\n\n" + _table(rows)
        for group in dict.fromkeys(row.group for row in manifest.performance)
        if (rows := [row for row in manifest.performance if row.group == group])
    ]
    ranked = [
        f"{row.condition}, {row.group}: AUROC {row.auroc:.3f} ({row.positives} of {row.n})"
        for row in manifest.discrimination
    ]
    return "\n\n".join([*tables, _bullets(ranked)])


def _table(rows: Sequence[Performance]) -> str:
    titles = ("phenotype", "R²", "r", "MAE", "MAE of the mean", "SD of target", "bias (limits of agreement)")
    head = f"| {' | '.join(titles)} |\n|" + "---|" * len(titles)
    lines = [
        f"| {row.symbol}, {row.unit} | {row.r2:.2f} | {row.r:.2f} | {row.mae:.2f} | {row.mean_predictor_mae:.2f} "
        f"| {row.target_sd:.2f} | {row.bias:.2f} "
        f"({row.limits_of_agreement[0]:.1f} to {row.limits_of_agreement[1]:.1f}) |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def _certainty(manifest: Manifest) -> str:
    interval = manifest.interval
    covered = ", ".join(f"{symbol} {share:.0%}" for symbol, share in interval.coverage.items())
    return (
        f"Intervals are meant to cover {interval.level:.0%} of participants ({interval.method}). On the test split, "
        f"which neither fitted nor stretched them, they covered: {covered}.\n\nAn ECG is flagged as unlike the "
        f"training data from a score of {manifest.ood.threshold:.3g} on ({manifest.ood.method})."
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
    command = (
        f"python -m training demo --out artifacts --version {manifest.version} "
        f"--participants {facts['participants']} --seed {facts['seed']} --threads {facts['threads']}"
    )
    return (
        f"```\n{command}\n```\n\nThe same code (version {facts['code_version']}, torch {facts['torch_version']}), "
        "machine and number of threads give the same weights, bit by bit."
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
