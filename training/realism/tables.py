"""Tables: each realism line with what was published, what may differ, what the cohort has, and whether that is met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from models.phenotypes import PHENOTYPES, derive
from training.realism.ceiling import Ceiling
from training.realism.discriminate import Discrimination
from training.realism.survey import Survey
from training.simulate.heart import stream
from training.simulate.population import sample_subject
from training.simulate.published import ACDC_SPEARMAN, ECG_MEDIANS, PETERSEN, Published
from training.simulate.setting import ACDC

Array = NDArray[np.float64]

ONAT = "Onat et al., Türk Kardiyol Dern Arş 2008;36:513: T in V1 negative in 38.3 % of 230 women, 7.2 % of 278 men"
ISSUE = "target of this project"

ACDC_CLASSES = ("normal", "DCM", "HCM", "MI", "RVdil")
"""Classes of the ACDC patients, equally many of each."""

_TERMINAL = "the last forces of the model point backwards, not to the right: no late right base, no papillary muscles"
_ANTERIOR_T = (
    "V2 lies between the right wall, which makes T in V1 flat, and the left, which makes it tall in V3; one gradient a "
    "ventricle cannot do both"
)
WHY = {
    "LVEDV–RVEDV, mixture of the cohort": "diseases are milder here than in ACDC, and healthy ventricles are alike; "
    "the setting acdc, with disease as advanced as there, meets it",
    "S_V5: median": _TERMINAL,
    "S_V6: median": _TERMINAL,
    "T_V2: median": _ANTERIOR_T,
    "T negative or flat in V1, men": f"T in V1 varies too much between men; {_ANTERIOR_T}",
}
"""What we suspect behind targets that are not met; none of it was tested."""

_FLAT = 0.02  # mV: a T wave below it is flat


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number against its target.

    Attributes
    ----------
    low, high : what is met, inclusive; None where the line is reported without a target
    source : of the target, with its mark
    """

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str = ""
    source: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is "met" or "not met"; empty without one; "not measured" where nobody was."""
        if self.low is None and self.high is None:
            return ""
        if not np.isfinite(self.value):
            return "not measured"
        above = self.low is None or self.value >= self.low
        return "met" if above and (self.high is None or self.value <= self.high) else "not met"

    @property
    def why(self) -> str:
        """Why a target is probably not met; empty where it is, or where we have no idea."""
        return WHY.get(self.name, "") if self.verdict == "not met" else ""

    @property
    def figure(self) -> str:
        """The value with three digits, counts whole."""
        return f"{self.value:.3g}" if abs(self.value) < 1000 else f"{self.value:.0f}"

    @property
    def target(self) -> str:
        """The target in words."""
        if self.low is None:
            return "" if self.high is None else f"at most {self.high:.3g}"
        return f"at least {self.low:.3g}" if self.high is None else f"{self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that belong together, and what a reader must know about them."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


def within(name: str, value: float, published: Published, share: float) -> Row:
    """A row that is met within a share of the published mean."""
    reach = share * abs(published.mean)
    source = f"{published.source} [{published.mark}]"
    return Row(
        name=name,
        value=value,
        low=published.mean - reach,
        high=published.mean + reach,
        unit=published.unit,
        source=source,
    )


def phenotype_table(survey: Survey) -> Table:
    """Means and SDs of simulated normals by sex, within 8 % of the published ones."""
    rows = []
    for symbol, of in PETERSEN.items():
        for sex, published in of.items():
            who = (survey.groups == "normal") & (survey.rhythms == "sinus") & (survey.sex == sex)
            values = survey.phenotype(symbol)[who]
            name, source = f"{symbol}, {'men' if sex == 'M' else 'women'}", f"{published.source} [{published.mark}]"
            low, high = 0.92 * published.sd, 1.08 * published.sd
            sd = _sd(values)
            rows.append(within(f"{name}: mean", _mean(values), published, 0.08))
            rows.append(Row(name=f"{name}: SD", value=sd, low=low, high=high, unit=published.unit, source=source))
    return Table(title="Phenotypes of simulated normals", rows=tuple(rows))


ACDC_PATIENTS = 2000
"""Simulated patients of the setting that stands for ACDC."""


def acdc_table(survey: Survey) -> Table:
    """Rank correlations of the setting "acdc", of an ACDC-like mixture of the cohort, and of the cohort as it is."""
    mixture, setting = _mixture(survey.groups), _acdc_setting()
    rows = []
    for (one, other), published in ACDC_SPEARMAN.items():
        x, y = survey.phenotype(one), survey.phenotype(other)
        groups = {"setting acdc": (setting[one], setting[other]), "mixture of the cohort": (x[mixture], y[mixture])}
        for group, (first, second) in groups.items():
            rows.append(
                Row(
                    name=f"{one}–{other}, {group}",
                    value=spearman(first, second),
                    low=published - 0.2,
                    high=published + 0.2,
                    source="ACDC training table, 100 patients [M]",
                )
            )
        rows.append(Row(name=f"{one}–{other}, this cohort", value=spearman(x, y), low=None, high=None))
    note = f"The mixture has {len(mixture) // len(ACDC_CLASSES)} participants of each of {', '.join(ACDC_CLASSES)}."
    return Table(title="Correlations between phenotypes (Spearman)", rows=tuple(rows), note=note)


def _acdc_setting() -> dict[str, Array]:
    """Phenotypes of the parametric hearts of the setting "acdc"; no scan is needed for them."""
    subjects = [sample_subject(stream(seed, "population"), ACDC) for seed in range(ACDC_PATIENTS)]
    known = {
        "LVEDV": np.array([one.volumes.lv_edv for one in subjects]),
        "LVESV": np.array([one.volumes.lv_esv for one in subjects]),
        "LVM": np.array([one.volumes.lv_mass for one in subjects]),
        "RVEDV": np.array([one.volumes.rv_edv for one in subjects]),
        "RVESV": np.array([one.volumes.rv_esv for one in subjects]),
    }
    return known | derive(known, None)


def _mixture(groups: NDArray[np.str_]) -> NDArray[np.intp]:
    of = [np.flatnonzero(groups == name) for name in ACDC_CLASSES]
    return np.concatenate([rows[: min(map(len, of))] for rows in of])


def ecg_table(survey: Survey) -> Table:
    """Intervals, shares and median amplitudes of the ECGs of simulated normals."""

    def of(name: str) -> Array:
        values = survey.feature(name)[survey.normal]
        return values[np.isfinite(values)]

    axis, qrs, p = of("QRS axis"), of("QRS"), of("P")
    deepest_v1 = np.maximum(of("S_V1"), of("Q_V1"))  # a second R may follow the S
    men = survey.sex[survey.measured][survey.normal] == "M"
    rows = [
        Row(name="QRS: mean", value=_mean(qrs), low=88, high=96, unit="ms", source=ISSUE),
        Row(name="QRS: SD", value=_sd(qrs), low=9, high=15, unit="ms", source=ISSUE),
        Row(name="QRS above 110 ms", value=_percent(qrs > 110), low=None, high=5, unit="%", source=ISSUE),
        Row(name="QRS axis -30 to 90°", value=_percent((axis >= -30) & (axis <= 90)), low=95, high=None, unit="%"),
        Row(name="P: mean", value=_mean(p), low=100, high=116, unit="ms", source=ISSUE),
        Row(name="P: SD", value=_sd(p), low=11, high=19, unit="ms", source=ISSUE),
        Row(name="R > S in V1", value=_percent(of("R_V1") > deepest_v1), low=None, high=5, unit="%", source=ISSUE),
    ]
    for lead in ("I", "II", "V4", "V5", "V6"):
        upright = _percent(of(f"T_{lead}") > 0)
        rows.append(Row(name=f"T upright in {lead}", value=upright, low=97, high=None, unit="%", source=ISSUE))
    for name, who, low, high in (("men", men, 2.0, 20.0), ("women", ~men, 20.0, 55.0)):
        inverted = survey.feature("T_V1")[survey.normal][who] < _FLAT
        rows.append(
            Row(
                name=f"T negative or flat in V1, {name}",
                value=_percent(inverted),
                low=low,
                high=high,
                unit="%",
                source=f"{ONAT} [A]; the range is ours, wider for flat waves",
            )
        )
    for name, published in ECG_MEDIANS.items():
        if published.unit == "mV":
            rows.append(within(f"{name}: median", _median(of(name)), published, 0.25))
    note = f"{int(survey.normal.sum())} normals in sinus rhythm, measured by `training.realism.features` on noisy ECGs."
    return Table(title="ECGs of simulated normals", rows=tuple(rows), note=note)


def relation_table(survey: Survey) -> Table:
    """Correlations between the ECG and the heart in normals, and QRS by class."""
    who = survey.normal

    def pearson(feature: str, symbol: str) -> float:
        x, y = survey.feature(feature)[who], survey.phenotypes[survey.measured][who, list(PHENOTYPES).index(symbol)]
        known = np.isfinite(x) & np.isfinite(y)
        return float(np.corrcoef(x[known], y[known])[0, 1]) if known.sum() > 2 else np.nan

    healthy = "0.59 and 0.25 in 71 healthy people, J Electrocardiol 2006;39:67 [A]"
    rows = [
        Row(name="QRS–LVM, normals (r)", value=pearson("QRS", "LVM"), low=0.3, high=0.6, source=healthy),
        Row(
            name="Sokolow–Lyon–LVM, normals (r)",
            value=pearson("Sokolow-Lyon", "LVM"),
            low=0.2,
            high=0.45,
            source=healthy,
        ),
        Row(name="Cornell–LVM, normals (r)", value=pearson("Cornell", "LVM"), low=None, high=None),
        Row(name="P–LAV, normals (r)", value=pearson("P", "LAV"), low=None, high=None, source="weak to moderate [R]"),
        Row(name="QRS–LVEF, normals (r)", value=pearson("QRS", "LVEF"), low=None, high=None),
    ]
    groups = survey.groups[survey.measured]
    for name in sorted(set(groups.tolist())):
        qrs = float(np.median(survey.feature("QRS")[groups == name]))
        rows.append(Row(name=f"QRS, {name}: median", value=qrs, low=None, high=None, unit="ms"))
    return Table(title="The ECG and the heart", rows=tuple(rows))


def label_table(survey: Survey) -> Table:
    """Phenotypes counted on label maps against those of the parametric heart."""
    rows = []
    for column, symbol in enumerate(PHENOTYPES):
        label, truth = survey.phenotypes[survey.measured, column], survey.analytic[:, column]
        r2 = 1 - ((label - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        bias = 100 * float((label - truth).mean() / truth.mean())
        least = 0.90 if PHENOTYPES[symbol].derived else 0.95  # a difference of two counts has the noise of both
        rows.append(Row(name=f"{symbol}: R²", value=float(r2), low=least, high=None, source="ours"))
        limit = None if symbol == "LVWT" else 2.0
        low = None if limit is None else -limit
        rows.append(Row(name=f"{symbol}: bias", value=bias, low=low, high=limit, unit="%", source=ISSUE))
    note = "LVWT is counted on whole rings, the parametric one over the apex too, where the wall is thinner."
    return Table(title="Label map against the parametric heart", rows=tuple(rows), note=note)


def discrimination_table(found: Discrimination | None) -> Table:
    """How well a classifier tells simulated normals from real ones."""
    title = "Real or simulated?"
    if found is None:
        return Table(
            title=title,
            rows=(),
            note="Not measured: it takes a dozen simulated normals, and real records (--real FOLDER).",
        )
    low, high = found.interval
    lines = " ".join(f"({n}) {one}." for n, one in enumerate(found.giveaways[:3], 1))
    note = (
        f"{found.real} real and {found.simulated} simulated normals: few real ones, so only large differences show. "
        f"95 % interval {low:.2f} to {high:.2f}. What gives the simulation away (median and quartiles): {lines}"
    )
    return Table(title=title, rows=(Row(name="AUROC", value=found.auroc, low=None, high=None),), note=note)


def ceiling_table(ceilings: Sequence[Ceiling]) -> Table:
    """The noise ceiling: same hearts, new electrodes, rhythm and noise."""
    title = "Noise ceiling: the best R² a model could reach, estimated by trees on features"
    if not ceilings:
        return Table(title=title, rows=(), note="Not measured: run `python -m training simulate ceiling FOLDER` first.")
    rows = tuple(
        Row(name=f"{one.symbol}, {one.group}", value=one.ceiling, low=None, high=None, source=_parts(one))
        for one in ceilings
    )
    note = (
        f"{ceilings[0].hearts} hearts, {ceilings[0].draws} ECGs of each. The smaller of two bounds: how well what is "
        "predicted from one ECG comes back in another of the same heart, and how well the label map measures the heart."
    )
    return Table(title=title, rows=rows, note=note)


def _parts(one: Ceiling) -> str:
    return f"reliability {one.reliability:.2f}, label {one.label:.2f}; trees on features reach {one.r2:.2f}"


def count_table(survey: Survey) -> Table:
    """Who is in the cohort."""
    rows = [
        Row(name=f"{what} {name}", value=float(n), low=None, high=None)
        for what, column in (("class", survey.groups), ("rhythm", survey.rhythms), ("sex", survey.sex))
        for name, n in zip(*np.unique(column, return_counts=True), strict=True)
    ]
    rows.append(Row(name="impossible hearts drawn again", value=float(survey.redrawn), low=None, high=None))
    rows.append(Row(name="ECGs in which no beat repeats", value=float(survey.unreadable), low=None, high=None))
    return Table(title="Counts", rows=tuple(rows))


def verdicts(tables: Iterable[Table]) -> Sequence[str]:
    """One line for each table that has targets: how many are met, and which are not."""
    lines = []
    for table in tables:
        judged = [row for row in table.rows if row.verdict in ("met", "not met")]
        unmeasured = sum(row.verdict == "not measured" for row in table.rows)
        missed = [f"{row.name} {row.value:.3g} ({row.target})" for row in judged if row.verdict == "not met"]
        if judged:
            rest = f"; not: {'; '.join(missed)}" if missed else ""
            rest += f"; {unmeasured} not measured" if unmeasured else ""
            lines.append(f"{table.title}: {len(judged) - len(missed)} of {len(judged)} met{rest}")
        elif table.note:
            lines.append(f"{table.title} {'; '.join(f'{row.name} {row.value:.3g}' for row in table.rows)} {table.note}")
    return lines


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else np.nan


def _sd(values: Array) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def _percent(which: NDArray[np.bool_]) -> float:
    return 100 * float(which.mean()) if len(which) else np.nan


def spearman(x: Array, y: Array) -> float:
    """Rank correlation; NaN for fewer than three."""
    return float(spearmanr(x, y).statistic) if len(x) > 2 else np.nan
