"""The gateway starts without an engine, the worker without a web server."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(module: str) -> set[str]:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("app.main", {"onnxruntime", "torch", "worker", "training"}),
        ("app.cli", {"onnxruntime", "torch", "worker", "training"}),
        ("worker.main", {"fastapi", "starlette", "sqlalchemy", "torch", "app", "training"}),
        ("models.runtime", {"fastapi", "celery", "sqlalchemy", "torch", "app", "worker", "training"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, forbidden: set[str]) -> None:
    assert not loaded_by(module) & forbidden
