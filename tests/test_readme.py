"""The README is a map that tells the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_tree_of_the_readme_is_that_of_the_code() -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/tree"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed in (ROOT / "README.md").read_text(), "run scripts/tree --write"
    for line in printed.splitlines():
        assert len(line.split(maxsplit=1)) == 2, f"no docstring: {line}"


def test_every_file_that_a_document_links_to_exists() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_two_commands_and_ci_are_there_and_can_be_run() -> None:
    for script in ("scripts/serve", "scripts/test", "scripts/setup", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111, script
        assert subprocess.run(["bash", "-n", script], cwd=ROOT, check=False).returncode == 0, script
