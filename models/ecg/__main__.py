"""The command line of `models.ecg`: ``python -m models.ecg inspect | convert``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
import typer

from models.ecg import examination, facts, inspection
from models.ecg.conversion import Converted
from models.ecg.conversion import convert as converted
from models.ecg.decode import decode
from models.ecg.drawing import Layout, draw
from models.ecg.drawing_png import png as png_of
from models.ecg.drawing_svg import svg as svg_of
from models.ecg.examination import Examination
from models.ecg.outcome import Refused, each, refusal_of
from models.ecg.recording import Recording
from models.ecg.source import Source, content, sources
from models.ecg.stated import Stated
from models.ecg.writers import FORMATS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the same help whether rich is installed or not
    help="""Look at ECG files, and write them in other formats.

    Any format of docs/formats.md may be given: the content decides, never the name. A WFDB record is its .hea, with
    the signal files beside it, or a zip of them. Of a folder, every file in it is taken.""",
)

_TARGETS = {name.lower(): name for name in FORMATS}


def _target(name: str) -> str:
    if name.lower() not in _TARGETS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(_TARGETS)}")
    return _TARGETS[name.lower()]


Inputs = Annotated[list[Path], typer.Argument(exists=True, help="ECG files, or folders of them.", show_default=False)]
Rate = Annotated[float | None, typer.Option(min=1.0, help="Hertz, if the file does not state it.")]
Unit = Annotated[str | None, typer.Option(help="mV, uV, nV or V, if the file does not state it.")]
Leads = Annotated[str | None, typer.Option(help="Lead of each column, as I,II,V1,…, if the file does not name them.")]


@app.command(
    short_help="Tell what was understood of an ECG, and draw it.",
    epilog="""\b
    Examples, each after 'python -m models.ecg':
      inspect ecg.dcm --png ecg.png
      inspect record.hea --svg record.svg --layout 12x1
      inspect table.csv --sampling-rate 500 --unit uV
      inspect exports/ --png drawings/
      inspect exports/ --json | jq .digest""",
)
def inspect(
    files: Inputs,
    png: Annotated[Path | None, typer.Option(help="Draw the ECG as this file; several, into this folder.")] = None,
    svg: Annotated[Path | None, typer.Option(help="The same in SVG, to scale in millimetres.")] = None,
    layout: Annotated[Layout, typer.Option(help="Rows x columns; 3x4 has the rhythm strip below.")] = Layout.QUARTERS,
    gain: Annotated[float, typer.Option(min=1.0, max=40.0, help="Of the drawing: millimetres to a millivolt.")] = 10.0,
    sampling_rate: Rate = None,
    unit: Unit = None,
    leads: Leads = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document a line, one line an ECG.")] = False,
) -> None:
    """Tell what was understood of an ECG: signal, patient, device, measurements, quality; and draw it.

    Of a folder, one line a file is told. The exit status is 0 if each ECG can be used, 1 if one is refused, with the
    reason and what to do on the standard error, and 2 if the command is wrong.
    """
    found = _sources(files)
    stated = _stated(sampling_rate, unit, leads)
    if (png or svg) and len({source.name for source in found}) < len(found):
        raise typer.BadParameter("two of the files have the same name: draw them one by one")
    pictures = [_Picture(place, suffix, len(found) > 1) for place, suffix in ((png, ".png"), (svg, ".svg")) if place]

    def look(source: Source) -> Examination:
        seen = examination.look(_read(source, stated))
        for picture in pictures:
            picture.save(source, seen, layout, gain)
        return seen

    outcomes = each(found, look)
    if json:
        _print_json(outcomes)
    elif any(source.folder for source in found):
        _print_table(outcomes)
    else:
        _print_reports(outcomes)
    raise typer.Exit(any(refusal_of(outcome) for _, outcome in outcomes))


@app.command(
    short_help="Write ECGs in another format.",
    epilog="""\b
    Examples, each after 'python -m models.ecg':
      convert ecg.xml --to dicom
      convert record.hea --to muse --out record.xml
      convert exports/ --to wfdb --out records/""",
)
def convert(
    files: Inputs,
    to: Annotated[str, typer.Option(callback=_target, metavar="|".join(_TARGETS), help="The format to write.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; a folder, if there are several. Without it: beside the input.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    sampling_rate: Rate = None,
    unit: Unit = None,
    leads: Leads = None,
) -> None:
    """Write ECGs in another format, and tell what that format could not hold.

    What was written is read again and compared: the largest difference of any sample, and each thing that was known
    and is lost. Of a folder, the files are written into a folder beside it. The exit status is as that of inspect.
    """
    found = _sources(files)
    stated = _stated(sampling_rate, unit, leads)
    written: set[Path] = set()

    def write(source: Source) -> tuple[Path, Converted]:
        new = converted(_read(source, stated), to)
        place = _place(source, out, to, len(found) > 1)
        if place in written:
            raise FileExistsError(0, "another file of this command was written there", str(place))
        _save(place, new.content, source, force)
        written.add(place)
        return place, new

    outcomes = each(found, write)
    for source, outcome in outcomes:
        if isinstance(outcome, Refused):
            _print_refusal(source, outcome)
        else:
            _print_conversion(source, *outcome)
    raise typer.Exit(any(isinstance(outcome, Refused) for _, outcome in outcomes))


def _sources(paths: Sequence[Path]) -> list[Source]:
    found = [source for path in paths for source in sources(path)]
    if not found:
        raise typer.BadParameter(f"there is no file in {', '.join(map(str, paths))}")
    return found


def _name(source: Source) -> str:
    return facts.shown(str(source.name))


def _stated(sampling_rate: float | None, unit: str | None, leads: str | None) -> Stated:
    names = tuple(name.strip() for name in leads.split(",")) if leads else None
    return Stated(sampling_rate=sampling_rate, unit=unit, leads=names)


def _read(source: Source, stated: Stated) -> Recording:
    return decode(content(source.path), stated)


@dataclass(frozen=True)
class _Picture:
    """Where drawings go: a file for one, a folder for many."""

    place: Path
    suffix: str
    many: bool

    def __post_init__(self) -> None:
        # No drawing replaces an ECG whose name was given by mistake.
        if not self.many and self.place.suffix.lower() != self.suffix:
            raise typer.BadParameter(f"{self.place} does not end in {self.suffix}")

    def save(self, source: Source, seen: Examination, layout: Layout, gain: float) -> None:
        drawing = draw(seen.recording, layout=layout, gain=gain, ours=seen.ours)
        content = png_of(drawing) if self.suffix == ".png" else svg_of(drawing).encode()
        place = self.place / f"{source.name}{self.suffix}" if self.many else self.place
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _place(source: Source, out: Path | None, to: str, many: bool) -> Path:
    """Where a converted file goes."""
    suffix = FORMATS[to].suffix
    if out is not None:
        return out / source.name.with_suffix(suffix) if many or source.folder or out.is_dir() else out
    if source.folder is None:
        return source.path.with_suffix(suffix)
    folder = source.folder.resolve()
    return folder.with_name(f"{folder.name}-{to.lower()}") / source.name.with_suffix(suffix)


def _save(place: Path, content: bytes, source: Source, force: bool) -> None:
    """Write a new file; `force` replaces an old one, but never the ECG itself."""
    if place.exists() and place.samefile(source.path):
        raise FileExistsError(0, "this is the file that was read", str(place))
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb" if force else "xb") as file:
        file.write(content)


def _print_json(outcomes: Sequence[tuple[Source, Examination | Refused]]) -> None:
    for source, outcome in outcomes:
        told = {"usable": False} if isinstance(outcome, Refused) else inspection.document(outcome)
        wrong = refusal_of(outcome)
        typer.echo(orjson.dumps({"file": str(source.name), **told, "refused": wrong}))
        _print_refusal(source, wrong)


def _print_table(outcomes: Sequence[tuple[Source, Examination | Refused]]) -> None:
    rows = [(_name(source), *_row(outcome)) for source, outcome in outcomes]
    for line in inspection.table(rows):
        typer.echo(line)
    usable = sum(refusal_of(outcome) is None for _, outcome in outcomes)
    typer.echo(f"{usable} of {len(outcomes)} can be used")


def _row(outcome: Examination | Refused) -> tuple[str, ...]:
    if isinstance(outcome, Refused):
        return "refused", "", "", "", "", facts.shown(outcome.detail)
    return inspection.summary(outcome)


def _print_reports(outcomes: Sequence[tuple[Source, Examination | Refused]]) -> None:
    """Each report under the name of its file; refusals on the standard error."""
    for number, (source, outcome) in enumerate(outcomes):
        if not isinstance(outcome, Refused):
            typer.echo(("\n" if number else "") + f"{_name(source)}\n{inspection.report(outcome)}")
        _print_refusal(source, refusal_of(outcome))


def _print_refusal(source: Source, wrong: Refused | None) -> None:
    if wrong is not None:
        typer.echo(f"{_name(source)}: {wrong}", err=True)


def _print_conversion(source: Source, place: Path, new: Converted) -> None:
    same = "" if new.difference is None else f", largest difference {new.difference:.2f} µV"
    typer.echo(f"{_name(source)} -> {place} ({len(new.content)} bytes{same})")
    for loss in new.losses:
        typer.echo(f"  {loss}")


if __name__ == "__main__":
    app(prog_name="python -m models.ecg")
