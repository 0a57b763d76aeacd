"""The dashboard's files keep the promises that its content security policy enforces, so that nothing fails unseen."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).resolve().parents[2] / "app" / "dashboard"
STATIC = DASHBOARD / "static"
TEMPLATES = sorted((DASHBOARD / "templates").glob("*.html"))
FILES = [*TEMPLATES, *sorted(file for file in STATIC.rglob("*") if file.is_file())]
NAMESPACE = "http://www.w3.org/2000/svg"
"""A name that looks like an address; nothing is fetched from it."""


class Tags(HTMLParser):
    """Start tags of a template, and what stands between <script> tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip() and self.cdata_elem == "script":
            self.scripts.append(data)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_names_another_origin(file: Path) -> None:
    text = file.read_text().replace(NAMESPACE, "")
    assert not re.search(r"(?:https?|wss?):|[\"'(=]\s*//\w|@import", text)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_no_template_holds_inline_script_or_style(file: Path) -> None:
    found = Tags(file.read_text())
    assert found.scripts == []
    for tag, attributes in found.tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_a_file_names_is_there(file: Path) -> None:
    text = file.read_text()
    for path in re.findall(r"/static/([\w./-]+)", text):
        assert (STATIC / path).is_file(), path
    for path in re.findall(r"^import .* from \"\./([\w./-]+)\"", text, re.MULTILINE):
        assert (STATIC / path).is_file(), path


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda file: file.name)
def test_no_module_builds_code_from_text(file: Path) -> None:
    assert not re.search(r"\beval\(|new Function|document\.write|setTimeout\([\"']", file.read_text())


def test_the_scripts_are_light() -> None:
    # 120 KB compressed is the most that a hospital's slowest desk should wait for; ours is far below even uncompressed.
    assert sum(file.stat().st_size for file in STATIC.rglob("*.js")) < 120_000


def test_there_are_files_to_look_at() -> None:
    assert {"dashboard.css", "ecg-viewer.js", "ecg-geometry.js", "live.js", "upload.js", "base.html", "study.html"} <= {
        file.name for file in FILES
    }
