from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from tests.models.cardiosoft_files import cardiosoft_xml
from tests.training.import_files import person, table, ukb_cine, ukb_ecg
from training.cohort import load
from training.importing import ukb
from training.importing.cohort_of import REPORT, Imported, Refused, import_visits
from training.importing.commands import app
from training.importing.intake import Rules
from training.importing.table import WrongTable
from training.simulate.imaging import short_axis

HEALTHY, REPEAT, FAULTY = 31, 32, 33
EIDS = {HEALTHY: "1000037", REPEAT: "1000048", FAULTY: "1000059"}


def fields(seed: int, *instances: int, **more: str) -> dict[str, object]:
    """A line of a phenotype table, as the tools of UK Biobank write it; other fields stand between."""
    truth = person(seed).truth
    line: dict[str, object] = {"eid": EIDS[seed], "31-0.0": {"F": "0", "M": "1"}[person(seed).sex], "34-0.0": "1950"}
    for instance in instances:
        for field, symbol in ukb.FIELDS.items():
            if symbol in truth:
                line[f"{field}-{instance}.0"] = f"{truth[symbol]:.2f}"
        line |= {f"21003-{instance}.0": "64", f"50-{instance}.0": "171.5", f"21002-{instance}.0": "70.2"}
    return line | more


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant with one visit, one with two and an ECG too many, one whose cine is cut."""
    folder = tmp_path_factory.mktemp("ukb")
    files, scratch = folder / "bulk", folder / "scratch"
    files.mkdir()
    for seed, instance in ((HEALTHY, 2), (REPEAT, 2), (REPEAT, 3), (FAULTY, 2)):
        ukb_ecg(person(seed), files, EIDS[seed], instance)
        ukb_cine(person(seed), files, EIDS[seed], instance, scratch)
    ukb_ecg(person(HEALTHY), files, EIDS[HEALTHY], 3)
    ukb_ecg(person(HEALTHY), files, EIDS[HEALTHY], 0)
    cut = files / f"{EIDS[FAULTY]}_20209_2_0.zip"
    cut.write_bytes(cut.read_bytes()[:5000])
    return files


def imported(bulk: Path, phenotypes: Path, out: Path) -> Imported:
    found = ukb.visits_of(bulk, phenotypes)
    return import_visits(
        found.visits,
        out,
        source="test",
        made={},
        rules=Rules(cine=True),
        on_fault="exclude",
        progress=Progress(disable=True),
        unpaired=found.unpaired,
    )


@pytest.fixture(scope="module")
def result(bulk: Path) -> Imported:
    rows = [fields(HEALTHY, 2), fields(REPEAT, 2, 3), fields(FAULTY, 2)]
    return imported(bulk, table(bulk.parent / "fields.csv", rows), bulk.parent / "out")


def test_ecg_and_cine_of_one_visit_are_paired_and_visits_share_their_participant(result: Imported, bulk: Path) -> None:
    cohort = load(bulk.parent / "out")
    assert cohort.ids.tolist() == ["1000037-2", "1000048-2", "1000048-3"]
    assert cohort.participants.tolist() == ["1000037", "1000048", "1000048"]
    assert result.unpaired == ("1000037-3",)
    assert {(fault.id, fault.column) for fault in result.faults} == {("1000059-2", "cmr")}


def test_each_number_is_that_of_its_field_and_visit(result: Imported, bulk: Path) -> None:
    cohort = load(bulk.parent / "out")
    for row, seed in enumerate((HEALTHY, REPEAT, REPEAT)):
        for symbol in ("LVEDV", "LVESV", "LVM", "LVWT", "RVEDV", "RVESV"):
            assert cohort.column(symbol)[row] == pytest.approx(person(seed).truth[symbol], abs=0.005), symbol
        volumes = person(seed).truth["LVEDV"], person(seed).truth["LVESV"]
        assert cohort.column("LVEF")[row] == pytest.approx(100 * (1 - volumes[1] / volumes[0]), abs=0.01)
        assert cohort.sex[row] == person(seed).sex
        assert (cohort.age[row], cohort.height[row], cohort.weight[row]) == (64, 171.5, 70.2)
    assert np.isnan(cohort.column("LAV")).all()


def test_the_ecg_is_that_of_the_xml_within_its_resolution(result: Imported, bulk: Path) -> None:
    cohort = load(bulk.parent / "out")
    for row, seed in enumerate((HEALTHY, REPEAT)):
        np.testing.assert_allclose(cohort.recording(row).signal, person(seed).recording.signal, rtol=0, atol=3.1e-3)


def test_the_kept_phases_are_those_of_the_largest_and_smallest_ventricle(result: Imported, bulk: Path) -> None:
    """Against the two phases that the simulator itself calls end-diastole and end-systole, on the same grid."""
    cohort = load(bulk.parent / "out")
    for row, seed in enumerate((HEALTHY, REPEAT)):
        known = dict(zip(("ed", "es"), short_axis(person(seed).heart).image, strict=True))
        kept = {name: cohort.volumes[name][row].astype(float) for name in ("ed", "es")}
        blood = {name: (volume > 128).sum() for name, volume in kept.items()}
        assert blood["ed"] > blood["es"]
        for name, other in (("ed", "es"), ("es", "ed")):
            assert alike(kept[name], known[name]) > alike(kept[name], known[other])


def alike(kept: np.ndarray, image: np.ndarray) -> float:
    """Best correlation of the middle slices over shifts of the plane: the import has centred the heart."""
    one, other = (volume[8] - volume[8].mean() for volume in (kept, image))
    spectrum = np.fft.fft2(one) * np.conj(np.fft.fft2(other))
    return float(np.fft.ifft2(spectrum).real.max() / np.sqrt((one**2).sum() * (other**2).sum()))


def test_an_ejection_fraction_that_its_volumes_do_not_have_is_a_fault(bulk: Path, tmp_path: Path) -> None:
    rows = [fields(HEALTHY, 2, **{"24103-2.0": "90"}), fields(REPEAT, 2, 3, **{"24101-3.0": "999"})]
    result = imported(bulk, table(tmp_path / "fields.csv", rows), tmp_path / "out")
    found = {(fault.id, fault.column) for fault in result.faults}
    assert ("1000037-2", "LVEF") in found
    assert ("1000048-3", "LVESV") in found
    assert load(tmp_path / "out").ids.tolist() == ["1000048-2"]


def test_somebody_whom_the_table_does_not_name_is_a_pair_without_labels(bulk: Path, tmp_path: Path) -> None:
    imported(bulk, table(tmp_path / "fields.csv", [fields(HEALTHY, 2)]), tmp_path / "out")
    cohort = load(tmp_path / "out")
    row = cohort.ids.tolist().index("1000048-2")
    assert np.isnan(cohort.phenotypes[row]).all()
    assert (cohort.age[row], cohort.sex[row]) == (62, person(REPEAT).sex)  # as the ECG says


def test_columns_of_the_research_platform_mean_the_same(bulk: Path, tmp_path: Path) -> None:
    tool = table(tmp_path / "tool.csv", [fields(HEALTHY, 2)])
    header, line = tool.read_text().splitlines()
    names = header.split(",")
    renamed = ["eid" if name == "eid" else "p31" if name == "31-0.0" else platform(name) for name in names]
    (tmp_path / "platform.csv").write_text(f"{','.join(renamed)}\n{line}\n")
    one, other = (ukb.visits_of(bulk, tmp_path / name).visits for name in ("tool.csv", "platform.csv"))
    assert one == other
    assert one[0].stated["LVEDV"] == pytest.approx(person(HEALTHY).truth["LVEDV"], abs=0.005)


def platform(name: str) -> str:
    field, _, instance = name.removesuffix(".0").partition("-")
    return f"p{field}_i{instance}"


def test_the_ecg_of_another_person_is_noticed_by_the_sex(bulk: Path, tmp_path: Path) -> None:
    sex = {"F": "1", "M": "0"}[person(HEALTHY).sex]
    phenotypes = table(tmp_path / "fields.csv", [fields(HEALTHY, 2, **{"31-0.0": sex})])
    result = imported(bulk, phenotypes, tmp_path / "out")
    assert "sex" in {fault.column for fault in result.faults if fault.id == "1000037-2"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("eid,24100-2.0\n1,150\n1,160\n", "second time"),
        ("id,24100-2.0\n1,150\n", "eid"),
        ("eid,24100-0.0,age\n1,150,3\n", "no column of a known field"),
    ],
)
def test_a_table_of_another_form_is_refused(bulk: Path, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "fields.csv").write_text(text)
    with pytest.raises(WrongTable, match=reason):
        ukb.visits_of(bulk, tmp_path / "fields.csv")


def test_a_folder_without_bulk_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1000037_20205_2_0.csv").touch()
    phenotypes = table(tmp_path / "fields.csv", [{"eid": "1", "24100-2.0": "1"}])
    with pytest.raises(WrongTable, match="20205"):
        ukb.visits_of(tmp_path, phenotypes)


def test_the_command_says_what_was_taken_and_what_was_not(bulk: Path, tmp_path: Path) -> None:
    small = tmp_path / "bulk"
    small.mkdir()
    for name in (f"{EIDS[HEALTHY]}_20205_2_0.xml", f"{EIDS[HEALTHY]}_20209_2_0.zip", f"{EIDS[FAULTY]}_20209_2_0.zip"):
        (small / name).write_bytes((bulk / name).read_bytes())
    (small / f"{EIDS[FAULTY]}_20205_2_0.xml").write_bytes(cardiosoft_xml(np.zeros((12, 5000))))
    phenotypes = table(tmp_path / "fields.csv", [fields(HEALTHY, 2)])
    arguments = ["ukb", str(small), "--table", str(phenotypes), "--out", str(tmp_path / "out"), "--processes", "1"]
    refused = CliRunner().invoke(app, [*arguments, "--faults", "refuse"])
    assert refused.exit_code == 2
    assert "1 of 2 visits have faults" in " ".join(refused.output.replace("│", " ").split())
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "1 visits are in" in done.output
    assert "1000059-2" in done.output
    assert (tmp_path / "out" / REPORT).is_file()
    assert len(load(tmp_path / "out")) == 1


def test_a_zip_of_anything_else_is_no_cine(bulk: Path, tmp_path: Path) -> None:
    files = tmp_path / "bulk"
    files.mkdir()
    ukb_ecg(person(HEALTHY), files, EIDS[HEALTHY], 2)
    with zipfile.ZipFile(files / f"{EIDS[HEALTHY]}_20209_2_0.zip", "w") as archive:
        archive.writestr("manifest.csv", "filename\n")
    (visit,) = ukb.visits_of(files, table(tmp_path / "fields.csv", [fields(HEALTHY, 2)])).visits
    assert visit.id == "1000037-2"
    with pytest.raises(Refused, match="no DICOM image"):
        import_visits(
            [visit],
            tmp_path / "out",
            source="test",
            made={},
            rules=Rules(),
            on_fault="exclude",
            progress=Progress(disable=True),
        )
