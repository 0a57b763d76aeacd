"""The phenotype panel says what the report says, each phenotype once and inside its axis."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.dashboard.pages import moment, person, render
from app.dashboard.panel import AXES, GROUPS, axis_of, chance, panel_of
from models.phenotypes import PHENOTYPES
from models.report import ConditionEstimate, Estimate, Interval, QualityReport, Reference, Report

HEALTHY = Reference(low=48, high=68, source="a study")


def estimate(symbol: str, value: float = 58.0, reference: Reference | None = None, spread: float = 8.0) -> Estimate:
    return Estimate(
        symbol=symbol,
        name=symbol,
        value=value,
        unit="%",
        interval=Interval(low=value - spread, high=value + spread, level=0.9),
        derived=False,
        reference=reference,
    )


def report(*estimates: Estimate) -> Report:
    return Report(id="1", status="done", estimates=list(estimates), quality=QualityReport(usable=True, findings=[]))


def test_every_phenotype_of_the_catalogue_has_one_place_and_one_axis() -> None:
    places = [symbol for symbols in GROUPS.values() for symbol in symbols]
    assert sorted(places) == sorted(PHENOTYPES)
    assert set(AXES) == set(PHENOTYPES)


def test_no_estimate_is_lost_not_even_one_that_nobody_expected() -> None:
    shown = panel_of(report(*(estimate(symbol) for symbol in (*PHENOTYPES, "GLS"))))
    lines = [line.estimate.symbol for group in shown.groups.values() for line in group]
    assert sorted(lines) == sorted([*PHENOTYPES, "GLS"])
    assert [line.estimate.symbol for line in shown.groups["Other"]] == ["GLS"]


def test_a_group_without_estimates_is_not_shown() -> None:
    assert list(panel_of(report(estimate("RVEF"))).groups) == ["Right ventricle"]


@given(
    symbol=st.sampled_from(sorted([*PHENOTYPES, "GLS"])),
    value=st.floats(-50, 900),
    spread=st.floats(0.1, 500),
)
def test_an_interval_never_leaves_its_axis(symbol: str, value: float, spread: float) -> None:
    one = estimate(symbol, value, spread=spread)
    axis = axis_of(one)
    assert 0 <= axis.at(one.interval.low) <= axis.at(one.value) <= axis.at(one.interval.high) <= 100


@pytest.mark.parametrize(("value", "word"), [(47.9, "below"), (48, "within"), (68, "within"), (68.1, "above")])
def test_a_word_says_where_the_value_lies(value: float, word: str) -> None:
    (line,) = panel_of(report(estimate("LVEF", value, HEALTHY))).groups["Left ventricle"]
    assert line.against_reference == word


@pytest.mark.parametrize(
    ("probability", "written"), [(0.0, "< 1 %"), (0.0099, "< 1 %"), (0.01, "1 %"), (0.376, "38 %"), (0.996, "> 99 %")]
)
def test_no_probability_is_written_as_certain(probability: float, written: str) -> None:
    assert chance(probability) == written


def test_the_panel_tells_each_condition_with_its_definition_or_why_it_is_withheld() -> None:
    told = ConditionEstimate(code="lvh", name="Hypertrophy", definition="LVM of 95 g <or more>", probability=0.376)
    silent = ConditionEstimate(
        code="lvef-40", name="Reduced", definition="LVEF at most 40 %", probability=None, withheld="LVEF is withheld"
    )
    notices = ["Trained on simulated hearts."]
    full = report(estimate("LVM")).model_copy(update={"conditions": [told, silent], "notices": notices})
    page = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    context = {"row": full, "report": full, "panel": panel_of(full), "chance": chance}
    html = bytes(render(page, "_result.html", **context).body).decode()
    card = html[html.index("<h3>Conditions</h3>") : html.index("<h3>How to read this</h3>")]
    for words in ('value="0.376">38 %', "LVM of 95 g &lt;or more&gt;", "withheld: LVEF is withheld", notices[0]):
        assert words in card
    bare = bytes(render(page, "_result.html", **(context | {"report": report()})).body).decode()
    assert "Conditions" not in bare


def test_each_source_is_listed_once_and_numbered() -> None:
    other = Reference(low=57, high=135, source="another study")
    shown = panel_of(
        report(estimate("LVEF", reference=HEALTHY), estimate("LVSV", reference=other), estimate("RVEF", 50, HEALTHY))
    )
    assert shown.sources == ["a study", "another study"]
    numbers = {line.estimate.symbol: line.source for group in shown.groups.values() for line in group}
    assert numbers == {"LVEF": 1, "LVSV": 2, "RVEF": 1}


def test_an_aware_moment_names_its_zone_and_a_device_clock_is_repeated() -> None:
    when = datetime(2026, 11, 24, 8, 13)
    assert moment(when) == "2026-11-24 08:13"
    aware = moment(when.replace(tzinfo=UTC))
    assert aware == when.replace(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    assert moment(None) == "not stated"


def test_age_and_sex_are_told_as_far_as_they_are_known() -> None:
    assert [person(62.4, "F"), person(62.4, None), person(None, "M"), person(None, None)] == [
        "62 y, F", "62 y", "M", "not stated",
    ]  # fmt: skip
