"""A store of one's own, on both databases, and a recording to put into it."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from app.store import Store
from models.ecg import Recording
from tests.conftest import missing


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real PostgreSQL server on a private unix socket; the URL without a database."""
    binaries = [*sorted(glob.glob("/usr/lib/postgresql/*/bin")), str(Path(shutil.which("initdb") or "").parent)]
    binary = Path(next((b for b in reversed(binaries) if (Path(b) / "initdb").exists()), ""))
    if not (binary / "initdb").exists():
        missing("postgresql")
    # The server refuses to run as root, so root runs it as another user, in a folder of that user's own.
    user = pwd.getpwnam("nobody").pw_name if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(binary / program), "-D", str(folder / "data"), *arguments],
            user=user,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )

    run("initdb", "-A", "trust", "-U", "ecg2cmr")
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-c listen_addresses= -k {folder} -c fsync=off", "start")
    yield f"postgresql+psycopg://ecg2cmr@/{{database}}?host={folder}"
    run("pg_ctl", "-w", "-m", "fast", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without any table."""
    if request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    else:
        server: str = request.getfixturevalue("postgresql")
        name = f"t{uuid.uuid4().hex}"
        administration = create_engine(server.format(database="postgres"), isolation_level="AUTOCOMMIT")
        with administration.connect() as connection:
            connection.execute(text(f"create database {name}"))
        administration.dispose()
        opened = Store(server.format(database=name))
    yield opened
    opened.close()


@pytest.fixture
def store(empty_store: Store) -> Store:
    empty_store.migrate()
    return empty_store


@pytest.fixture
def recording() -> Recording:
    signal = np.random.default_rng(1).normal(0, 0.1, (12, 5000))
    return Recording(signal=signal, sampling_rate=500.0, age=60.0, sex="F", patient_id="P-1")
