from __future__ import annotations

import json
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from models.ecg.beats import heart_rate
from models.phenotypes import PHENOTYPES
from tests.training.import_files import PHASES, Person, nifti, person, table, wfdb
from training.cohort import Cohort, CohortError, load
from training.importing.cohort_of import REPORT, Imported, OccupiedFolder, Refused, import_visits
from training.importing.commands import app
from training.importing.folder import visits_of
from training.importing.intake import Rules
from training.importing.label_values import WrongLabelValues, label_values_of
from training.importing.table import WrongTable, read_table
from training.importing.truth import Preference, truth
from training.importing.units import WrongUnit
from training.simulate.imaging import chamber_volumes

SIMULATED = label_values_of("1=LV,2=myocardium,3=RV,4=other,5=other")
ONE, OTHER = 21, 22
SYMBOLS = list(PHENOTYPES)


def imported(path: Path, out: Path, on_fault: str = "exclude", **rules: object) -> Imported:
    return import_visits(
        visits_of(path),
        out,
        source="test",
        made={},
        rules=Rules(**{"label_values": SIMULATED, **rules}),  # type: ignore[arg-type]  # the test knows its rules
        on_fault=on_fault,  # type: ignore[arg-type]  # as above
        progress=Progress(disable=True),
    )


def row_of(seed: int, folder: Path, **more: object) -> dict[str, object]:
    """A sound visit: WFDB and a labelled NIfTI cine."""
    one = person(seed)
    cine, labels = nifti(one, folder / f"images-{seed}")
    ecg = wfdb(one, folder, f"ecg{seed}")
    paths = {"ecg": ecg.name, "cmr": cine.relative_to(folder), "labels": labels.relative_to(folder)}
    return {"participant": f"p{seed}", **paths, **more}


def measured_by_counting(one: Person) -> dict[str, float]:
    counted = [chamber_volumes(labels, one.scan.spacing) for labels in one.scan.labels]
    ed = max(range(PHASES), key=lambda phase: counted[phase]["LV"])
    es = min(range(PHASES), key=lambda phase: counted[phase]["LV"])
    return {
        "LVEDV": counted[ed]["LV"],
        "LVESV": counted[es]["LV"],
        "LVM": counted[ed]["LVM"],
        "RVEDV": counted[ed]["RV"],
        "RVESV": counted[es]["RV"],
    }


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A labelled cine; a cine with stated volumes in other units; end-diastole and end-systole in ACDC's classes."""
    folder = tmp_path_factory.mktemp("hospital")
    first = row_of(ONE, folder, group="normal", sex=person(ONE).sex, age="61.5", **{"height [m]": "1.73"})
    second = row_of(OTHER, folder, visit="2", **{"LVEDV [l]": "0.14", "LVESV [mL]": "61", "LVEF [%]": "56"})
    del second["labels"]
    third = {"participant": "p22", "visit": "1", "ecg": "ecg22", "group": "normal", **acdc(person(OTHER), folder)}
    path = table(folder / "table.csv", [first, second, third])
    acdc_rows = table(folder / "acdc.csv", [third])
    assert imported(path, folder / "some").left_out == 1  # the third is in other classes
    found = imported(acdc_rows, folder / "acdc", label_values=label_values_of("1=RV,2=myocardium,3=LV"))
    assert (found.taken, found.faults) == (1, ())
    return load(folder / "some")


def acdc(one: Person, folder: Path) -> dict[str, object]:
    """Two volumes and their label maps, 1 the right ventricle, 3 the left."""
    cine, labels = (nib.load(path) for path in nifti(one, folder / "whole"))
    swapped = np.array([0, 3, 2, 1, 0, 0], np.uint8)[np.asarray(labels.dataobj)]
    counted = (one.scan.labels == 1).sum((1, 2, 3))
    found: dict[str, object] = {}
    for name, phase in (("ed", int(counted.argmax())), ("es", int(counted.argmin()))):
        for kind, voxels in ((name, np.asarray(cine.dataobj)), (f"{name}_labels", swapped)):
            nib.save(nib.Nifti1Image(voxels[..., phase], cine.affine), folder / f"{kind}.nii.gz")
            found[kind] = f"{kind}.nii.gz"
    return found


def test_sound_visits_are_in_the_cohort_with_what_was_measured_or_stated(three: Cohort) -> None:
    assert three.ids.tolist() == ["p21", "p22-2"]
    assert three.participants.tolist() == ["p21", "p22"]
    assert three.groups.tolist() == ["normal", "ungrouped"]
    for symbol, value in measured_by_counting(person(ONE)).items():
        assert three.column(symbol)[0] == pytest.approx(value), symbol
    assert three.column("LVEDV")[1] == pytest.approx(140)
    assert three.column("LVEF")[1] == pytest.approx(100 * 79 / 140)
    assert np.isnan(three.column("LVM")[1])
    assert three.height[0] == pytest.approx(173)
    assert (three.age[0], three.sex[0]) == (61.5, person(ONE).sex)


def test_the_ecg_is_the_one_that_was_recorded_and_its_rate_is_measured_on_it(three: Cohort) -> None:
    for row, seed in enumerate((ONE, OTHER)):
        np.testing.assert_allclose(three.recording(row).signal, person(seed).recording.signal, rtol=0, atol=6e-4)
        assert three.heart_rate[row] == pytest.approx(heart_rate(person(seed).recording), abs=0.5)
    assert three.column("CO")[0] == pytest.approx(three.column("LVSV")[0] * three.heart_rate[0] / 1000)


def test_volumes_show_a_heart_that_is_smaller_in_systole(three: Cohort) -> None:
    for row in range(2):
        ed, es = (three.volumes[name][row].astype(float) for name in ("ed", "es"))
        assert np.abs(ed - es).mean() > 1
        assert ed.max() == es.max() == 255


def test_acdcs_classes_mean_the_same_as_our_own(three: Cohort) -> None:
    acdc_cohort = load(three.folder.parent / "acdc")
    for symbol, value in measured_by_counting(person(OTHER)).items():
        assert acdc_cohort.column(symbol)[0] == pytest.approx(value), symbol


def test_the_manifest_and_the_report_name_who_was_left_out(three: Cohort) -> None:
    left_out = three.manifest.left_out
    assert {(fault.id, fault.participant) for fault in left_out} == {("p22-1", "p22")}
    assert "labels" in {fault.column for fault in left_out}
    report = json.loads((three.folder / REPORT).read_text())
    assert (report["taken"], report["left_out"]) == (2, 1)
    assert report["faults"] == [fault.model_dump() for fault in left_out]


def flat(folder: Path) -> str:
    """An ECG without a heart."""
    rows = "\n".join(",".join(["0"] * 12) for _ in range(5000))
    leads = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    (folder / "flat.csv").write_text(f"# fs=500\n# unit=mV\n{leads}\n{rows}\n")
    return "flat.csv"


def cut(folder: Path) -> str:
    """A header whose signal file ends early."""
    header = wfdb(person(ONE), folder, "cut")
    signal = header.with_suffix(".dat")
    signal.write_bytes(signal.read_bytes()[:-1000])
    return header.name


def test_every_fault_is_named_with_its_place_and_only_sound_visits_are_taken(tmp_path: Path) -> None:
    sound = row_of(ONE, tmp_path)
    (tmp_path / "note.txt").write_text("Recorded on Monday")
    volumes = measured_by_counting(person(ONE))
    stated = "LVEDV [mL]"
    other_sex = {"F": "M", "M": "F"}[str(person(ONE).recording.sex or person(ONE).sex)]
    wrong: list[tuple[dict[str, object], str, str]] = [
        ({"ecg": "absent.hea"}, "ecg", "No such file"),
        ({"ecg": "note.txt"}, "ecg", "no ECG format"),
        ({"ecg": cut(tmp_path)}, "ecg", "samples"),
        ({"ecg": flat(tmp_path)}, "ecg", "no signal|flat"),
        ({"ecg": ""}, "ecg", "names no ECG"),
        ({"cmr": "absent.nii"}, "cmr", "there is no"),
        ({"cmr": "note.txt"}, "cmr", "note.txt"),
        ({"cmr": ""}, "cmr", "neither"),
        ({"labels": sound["cmr"]}, "labels", "no label map"),
        ({"labels": "absent.nii"}, "labels", "there is no"),
        ({stated: "0.16"}, "LVEDV", "no heart has"),
        ({stated: "big"}, "LVEDV", "no number"),
        ({stated: f"{1.2 * volumes['LVEDV']}"}, "LVEDV", "18 % apart"),
        ({stated: "90", "LVESV [mL]": "95"}, "LVESV", "not less"),
        ({"LVEF [%]": f"{100 * (1 - volumes['LVESV'] / volumes['LVEDV']) + 2.1}"}, "LVEF", "its volumes say"),
        ({"height [cm]": "1.73"}, "height", "outside"),
        ({"sex": "Q"}, "sex", "neither F nor M"),
        ({"sex": other_sex}, "sex", "another person"),
    ]
    rows = [{**sound, **change, "participant": f"wrong-{n}"} for n, (change, _, _) in enumerate(wrong)]
    found = imported(table(tmp_path / "table.csv", [sound, *rows]), tmp_path / "out")
    assert load(tmp_path / "out").ids.tolist() == ["p21"]
    for n, (_, column, what) in enumerate(wrong):
        told = [fault.what for fault in found.faults if (fault.id, fault.column) == (f"wrong-{n}", column)]
        assert any(re.search(what, each) for each in told), (n, column, found.faults)


def test_a_refused_import_leaves_the_report_and_no_cohort_and_can_be_repeated(tmp_path: Path) -> None:
    sound = row_of(ONE, tmp_path)
    bad = table(tmp_path / "bad.csv", [sound, {**sound, "participant": "x", "ecg": "absent"}])
    with pytest.raises(Refused, match="1 of 2 visits"):
        imported(bad, tmp_path / "out", "refuse")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [REPORT]
    assert imported(table(tmp_path / "good.csv", [sound]), tmp_path / "out", "refuse").taken == 1
    with pytest.raises(OccupiedFolder):
        imported(bad, tmp_path / "out")
    assert len(load(tmp_path / "out")) == 1


def test_an_import_of_nothing_but_faults_is_refused(tmp_path: Path) -> None:
    rows = [{"participant": "x", "ecg": "absent", "cmr": "absent"}]
    with pytest.raises(Refused, match="0 are sound"):
        imported(table(tmp_path / "table.csv", rows), tmp_path / "out")


def test_the_command_reads_acdcs_classes_and_lets_the_label_maps_win(tmp_path: Path) -> None:
    ecg = wfdb(person(OTHER), tmp_path, "ecg22").name
    volume = measured_by_counting(person(OTHER))["LVEDV"]
    row = {"participant": "a", "ecg": ecg, "LVEDV [mL]": f"{1.15 * volume:.3f}", **acdc(person(OTHER), tmp_path)}
    path = table(tmp_path / "table.csv", [row])
    arguments = ["folder", str(path), "--out", str(tmp_path / "out"), "--processes", "2"]
    options = ["--label-values", "1=RV,2=myocardium,3=LV", "--labels", "measured"]
    assert CliRunner().invoke(app, [*arguments, *options]).exit_code == 2  # 14 % apart
    done = CliRunner().invoke(app, [*arguments, *options, "--tolerance", "20"])
    assert done.exit_code == 0, done.output
    cohort = load(tmp_path / "out")
    assert cohort.column("LVEDV")[0] == pytest.approx(volume)
    assert cohort.manifest.made["label_values"] == {"1": 3, "2": 2, "3": 1}


@pytest.mark.parametrize("command", ["folder", "ukb"])
def test_the_help_names_what_the_command_reads(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"]).output
    for word in {"folder": ("es_labels", "height [cm]", "Example"), "ukb": ("20205", "24100", "Example")}[command]:
        assert word in shown


def test_a_cine_is_one_beat_on_the_grid_of_the_volumes(tmp_path: Path) -> None:
    path = table(tmp_path / "table.csv", [row_of(ONE, tmp_path)])
    imported(path, tmp_path / "out", cine=True)
    cohort = load(tmp_path / "out")
    assert cohort.cine is not None
    frames = cohort.cine[0].astype(float)
    assert frames.shape == (16, 64, 64)
    apart = [np.abs(frames[0] - frame).mean() for frame in frames]
    assert apart[0] == 0
    assert max(apart) > 2 * apart[15] > 0  # the last frame is followed by the first, the middle is furthest away


@pytest.mark.parametrize(
    ("header", "cell", "column", "value"),
    [
        ("LVEDV [mL]", "150", "LVEDV", 150),
        ("lvedv [L]", "0.15", "LVEDV", 150),
        ("LVM [kg]", "0.1", "LVM", 100),
        ("LVEF [%]", "55", "LVEF", 55),
        ("LVEF [1]", "0.55", "LVEF", 55),
        ("LVWT [cm]", "0.7", "LVWT", 7),
        ("CO [mL/min]", "5000", "CO", 5),
        ("height [m]", "1.7", "height", 170),
        ("weight [g]", "70000", "weight", 70),
        ("age [months]", "18", "age", 1.5),
        ("age", "60", "age", 60),
    ],
)
def test_numbers_are_converted_from_the_unit_of_their_header(
    tmp_path: Path, header: str, cell: str, column: str, value: float
) -> None:
    (row,) = read_table(table(tmp_path / "t.csv", [{"participant": "a", "ecg": "e", header: cell}]))
    assert row.numbers == {column: pytest.approx(value)}


@pytest.mark.parametrize("header", ["LVEDV", "LVEDV [g]", "LVEDV [mL/m2]", "height", "LVM [lb]"])
def test_a_number_without_a_unit_or_in_another_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(WrongUnit, match=header.split(maxsplit=1)[0]):
        read_table(table(tmp_path / "t.csv", [{"participant": "a", "ecg": "e", header: "1"}]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("participant,ecg,LVEVD [mL]\na,b,1\n", "LVEVD"),
        ("participant,ecg,ecg\na,b,c\n", "twice"),
        ("participant\na\n", "no column ecg"),
        ("participant,ecg\na,b,c\n", "line 2"),
        ("participant,ecg\n", "no line"),
        ("", "no line"),
        ("participant,ecg,cmr\na,b,c\na,b,c\n", "twice"),
    ],
)
def test_a_table_of_another_form_is_refused_in_a_sentence(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(WrongTable, match=reason):
        visits_of(tmp_path / "t.csv")


def test_a_table_that_is_missing_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("participant,ecg\nGrün,b\n".encode("latin-1"))
    for name in ("absent.csv", "latin.csv"):
        with pytest.raises(CohortError, match=name):
            read_table(tmp_path / name)


def test_semicolons_and_a_byte_order_mark_are_what_spreadsheets_write(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("participant;ecg;LVEDV [mL]\n\na;b;\n", encoding="utf-8-sig")
    (row,) = read_table(tmp_path / "t.csv")
    assert (row.words["participant"], row.files, row.numbers) == ("a", {"ecg": "b"}, {})


@pytest.mark.parametrize("text", ["1=LV", "LV=1", "1=LV,2=myocardium,300=RV", "0=LV,2=myocardium,3=RV", ""])
def test_label_values_that_name_no_structures_are_refused(text: str) -> None:
    with pytest.raises(WrongLabelValues):
        label_values_of(text)


STATED = {"LVEDV": 150.0, "LVESV": 60.0, "LVEF": 60.5, "CO": 9.0, "RVEF": 55.0}


def test_derived_phenotypes_follow_from_predicted_ones_whatever_the_table_says() -> None:
    values, wrong = truth(STATED, {}, 70.0, Preference())
    found = dict(zip(SYMBOLS, values, strict=True))
    assert wrong == {}
    assert (found["LVSV"], found["LVEF"]) == (90, 60)
    assert found["CO"] == pytest.approx(6.3)
    assert found["RVEF"] == 55  # nothing to compute it from
    assert math.isnan(found["RVSV"])
    without = dict(zip(SYMBOLS, truth(STATED, {}, None, Preference())[0], strict=True))
    assert without["CO"] == 9


@pytest.mark.parametrize(("winner", "value"), [("stated", 150.0), ("measured", 157.0)])
def test_the_preferred_source_wins_and_the_other_fills_gaps(winner: str, value: float) -> None:
    preference = Preference(winner=winner)  # type: ignore[arg-type]  # one of two words
    values, wrong = truth(STATED, {"LVEDV": 157.0, "LVM": 90.0, "RVEDV": math.nan}, 70.0, preference)
    found = dict(zip(SYMBOLS, values, strict=True))
    assert (found["LVEDV"], found["LVM"]) == (value, 90)
    assert math.isnan(found["RVEDV"])
    assert found["LVEF"] == pytest.approx(100 * (value - 60) / value)
    assert wrong.keys() <= {"LVEF"}


@pytest.mark.parametrize(("ejection", "fault"), [(62.0, False), (62.1, True), (57.9, True), (58.0, False)])
def test_an_ejection_fraction_may_differ_by_two_points(ejection: float, fault: bool) -> None:
    _, wrong = truth({"LVEDV": 150.0, "LVESV": 60.0, "LVEF": ejection}, {}, 70.0, Preference())
    assert ("LVEF" in wrong) == fault
