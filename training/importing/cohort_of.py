"""Cohort of visits: all that can be taken on disk, and a report that names everything that cannot."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import JsonValue
from rich.progress import Progress

from training.cohort import write_cohort
from training.entry import Entry
from training.importing.heart import CINE
from training.importing.intake import Rules, take
from training.importing.visit import Visit
from training.manifest import FILE, CohortError, Fault, Manifest, write_manifest
from training.processes import done

REPORT = "import.json"


class Refused(CohortError):
    """An import in which something was wrong, and which was told to refuse that; the report names everything."""


class OccupiedFolder(CohortError):
    """The folder holds a cohort already; nothing is mixed or overwritten."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    taken : how many visits are in the cohort
    faults : of the visits that are not
    unpaired : ids of visits of which the source has only the ECG or only the images
    """

    taken: int
    faults: tuple[Fault, ...]
    unpaired: tuple[str, ...]

    @property
    def left_out(self) -> int:
        """Visits with a fault."""
        return len({fault.id for fault in self.faults})

    def columns(self) -> list[tuple[str, int]]:
        """Where the faults are, the most frequent first."""
        return Counter(fault.column for fault in self.faults).most_common()


def import_visits(
    visits: Sequence[Visit],
    out: Path,
    *,
    source: str,
    made: Mapping[str, JsonValue],
    rules: Rules,
    on_fault: Literal["exclude", "refuse"],
    progress: Progress,
    unpaired: Sequence[str] = (),
    processes: int = 1,
) -> Imported:
    """Read every visit once and write the cohort into `out`, with ``import.json`` beside it.

    Parameters
    ----------
    source, made : for the manifest, who imported what
    on_fault : whether a visit with a fault is left out, or the whole import refused, after all were looked at
    processes : that read; the cohort does not depend on it. A visit of 800 DICOM images takes one about 2 s.

    Raises
    ------
    OccupiedFolder
        If `out` holds a cohort.
    Refused
        If a visit has a fault and `on_fault` says so, or none could be taken; the report is there, the cohort is not.
    """
    if (out / FILE).exists():
        raise OccupiedFolder(f"{out} holds a cohort already: name another folder")
    unfinished = out / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    faults: list[Fault] = []
    manifest = Manifest(source=source, made=dict(made), cine=CINE if rules.cine else None)
    written = write_cohort(unfinished, _taken(visits, rules, faults, progress, processes), manifest)
    imported = Imported(
        taken=sum(shard.entries for shard in written.shards), faults=tuple(faults), unpaired=tuple(unpaired)
    )
    _write_report(out / REPORT, imported)
    if not imported.taken or (faults and on_fault == "refuse"):
        shutil.rmtree(unfinished)
        raise Refused(
            f"{imported.left_out} of {len(visits)} visits have faults, {imported.taken} are sound; nothing is "
            f"imported, {out / REPORT} names every fault. First: {faults[0] if faults else 'no visit was found'}"
        )
    write_manifest(unfinished, written.model_copy(update={"left_out": tuple(faults)}))
    for shard in written.shards:
        (unfinished / shard.name).rename(out / shard.name)
    (unfinished / FILE).rename(out / FILE)  # last: without it there is no cohort
    unfinished.rmdir()
    return imported


def _taken(
    visits: Sequence[Visit], rules: Rules, faults: list[Fault], progress: Progress, processes: int
) -> Iterator[Entry]:
    """Entries of the sound visits, one at a time; what is wrong with the others is appended to `faults`."""
    task = progress.add_task("import", total=len(visits), note="")
    left_out = 0
    for found in done(partial(take, rules=rules), visits, processes):
        if isinstance(found, Entry):
            yield found
        else:
            faults.extend(found)
            left_out += 1
        progress.update(task, advance=1, note=f"{left_out} left out")


def _write_report(path: Path, imported: Imported) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "taken": imported.taken,
        "left_out": imported.left_out,
        "unpaired": list(imported.unpaired),
        "faults": [fault.model_dump() for fault in imported.faults],
    }
    path.write_text(json.dumps(report, indent=1))
