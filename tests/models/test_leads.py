from __future__ import annotations

import numpy as np
import pytest

from models.ecg.errors import DecodeError, MissingLeads, UnknownUnit
from models.ecg.leads import arrange, lead_name
from models.ecg.recording import INDEPENDENT_LEADS, LEADS
from models.ecg.units import millivolts_per


@pytest.mark.parametrize(
    ("label", "lead"),
    [
        ("I", "I"),
        ("i", "I"),
        ("aVR (inverted)", None),
        ("V1 (reversed)", None),
        ("V1 (uV)", "V1"),
        ("Lead I (Einthoven)", "I"),
        ("ECG I", "I"),
        ("ECG I-REF", "I"),
        ("EKG V1", "V1"),
        ("EKG AVR", "aVR"),
        ("MDC_ECG_LEAD_I", "I"),
        ("MDC_ECG_LEAD_AVR", "aVR"),
        ("MDC_ECG_LEAD_V6", "V6"),
        ("5.6.3-9-1", "I"),
        ("5.6.3-9-3", "V1"),
        ("5.6.3-9-61", "III"),
        ("5.6.3-9-62 Lead aVR", "aVR"),
        ("2:1", "I"),
        ("2:64", "aVF"),
        ("AVR", "aVR"),
        ("avr", "aVR"),
        ("a V R", "aVR"),
        (" v5 ", "V5"),
        ("II [mV]", "II"),
        ("-aVR", "-aVR"),
        ("5.6.3-9-65", "-aVR"),
    ],
)
def test_every_spelling_met_in_real_files_is_understood(label: str, lead: str) -> None:
    assert lead_name(label) == lead


@pytest.mark.parametrize(
    "label",
    [
        "",
        "V3R",
        "V7",
        "V10",
        "VX",
        "vx",
        "MLII",
        "I II",
        "IIII",
        "1",
        "0",
        "ecg",
        "5.6.3-9-9",
        "5.6.3-9-9 Lead V1",
        "2:16",
    ],
)
def test_other_leads_are_never_taken_for_one_of_the_twelve(label: str) -> None:
    assert lead_name(label) is None


def test_leads_are_taken_by_name_and_never_by_position() -> None:
    rows = {lead: np.full(4, float(n)) for n, lead in enumerate(LEADS)}
    signal, derived, remarks = arrange(list(rows.items())[::-1])
    np.testing.assert_array_equal(signal[:, 0], np.arange(12.0))
    assert derived == ()
    assert remarks == ()


def test_extra_leads_are_left_out_and_named() -> None:
    channels = [(lead, np.ones(4)) for lead in (*LEADS, "V3R", "vx")]
    _, _, (remark,) = arrange(channels)
    assert remark.code == "extra-leads"
    assert remark.leads == ("V3R", "vx")


def test_the_cabrera_lead_is_turned_over() -> None:
    channels = [(lead, np.ones(4)) for lead in LEADS if lead != "aVR"] + [("-aVR", np.array([1.0, -2.0, 3.0, 0.0]))]
    signal, _, _ = arrange(channels)
    np.testing.assert_array_equal(signal[LEADS.index("aVR")], [-1.0, 2.0, -3.0, 0.0])


@pytest.mark.parametrize("second", ["i", "Lead I", "5.6.3-9-1"])
def test_a_lead_that_is_there_twice_is_refused(second: str) -> None:
    with pytest.raises(DecodeError, match="lead I is there twice"):
        arrange([*((lead, np.ones(4)) for lead in LEADS), (second, np.ones(4))])


@pytest.mark.parametrize("missing", INDEPENDENT_LEADS)
def test_a_lead_that_cannot_be_derived_must_be_there(missing: str) -> None:
    with pytest.raises(MissingLeads, match=missing):
        arrange((lead, np.ones(4)) for lead in LEADS if lead != missing)


def test_derived_leads_follow_einthoven_and_goldberger() -> None:
    # One sample by hand: I = 1, II = 3 mV, so III = 2, aVR = -2, aVL = -0.5, aVF = 2.5.
    values = {"I": 1.0, "II": 3.0} | {f"V{n}": 0.0 for n in range(1, 7)}
    signal, derived, _ = arrange((lead, np.array([value])) for lead, value in values.items())
    np.testing.assert_array_equal(signal[:6, 0], [1.0, 3.0, 2.0, -2.0, -0.5, 2.5])
    assert derived == ("III", "aVR", "aVL", "aVF")


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("mV", 1.0),
        ("mv", 1.0),
        ("uV", 1e-3),
        ("\u00b5V", 1e-3),
        ("\u03bcV", 1e-3),
        ("nV", 1e-6),
        ("V", 1e3),
        (" millivolts ", 1.0),
    ],
)
def test_units_of_voltage_become_millivolts(unit: str, factor: float) -> None:
    assert millivolts_per(unit) == factor


@pytest.mark.parametrize("unit", ["", "mmHg", "bit", "m", "kV", "s"])
def test_what_is_no_voltage_is_refused(unit: str) -> None:
    with pytest.raises(UnknownUnit):
        millivolts_per(unit)
