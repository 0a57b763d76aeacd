"""A store of one's own and a recording to put into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.store import Store
from models.ecg import Recording


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def recording() -> Recording:
    signal = np.random.default_rng(1).normal(0, 0.1, (12, 5000))
    return Recording(signal=signal, sampling_rate=500.0, age=60.0, sex="F", patient_id="P-1")
