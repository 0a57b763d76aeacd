"""Start a worker: verify the bundle, then run Celery; with --check, load the model, replay its examples and leave."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from typing import Annotated

import typer
from pydantic import ValidationError

from models.bundle import Bundle, BundleError, choose
from models.runtime import Model, ProviderError
from worker.settings import Settings
from worker.tasks import Station, create_worker


def run(
    check: Annotated[
        bool, typer.Option("--check", help="Load the model, replay its golden examples, print the verdict, leave.")
    ] = False,
) -> None:
    """Run a worker on the broker and model named by the environment.

    ECG2CMR_BROKER_URL     redis://host:6379/0
    ECG2CMR_BUNDLE         folder of a model bundle (default: the newest under models/artifacts)
    ECG2CMR_PROVIDER       cpu, openvino (needs ecg2cmr[openvino]), cuda or tensorrt (need ecg2cmr[gpu])
    ECG2CMR_PRECISION      auto (the fastest graph whose measured error is small), or fp32, fp16, int8
    ECG2CMR_POOL           threads (one process, one device) or prefork with ECG2CMR_PROCESSES processes
    ECG2CMR_THREADS        CPU cores to use (default: all)
    """
    try:
        settings = Settings()
    except ValidationError as error:
        typer.echo(f"The settings (ECG2CMR_<NAME> in the environment) are wrong: {error}", err=True)
        raise typer.Exit(1) from error
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        if check:
            _check(choose(settings.bundle, settings.artifacts), settings)
        else:
            work(settings)
    except (BundleError, ProviderError) as error:
        typer.echo(f"The model cannot be served: {error}", err=True)
        raise typer.Exit(1) from error


def work(settings: Settings | None = None) -> None:
    """Verify the bundle and run Celery until told to stop; where Celery gives up, so does the process, with its status.

    Raises
    ------
    BundleError, ProviderError
        If the model cannot be served.
    """
    settings = settings or Settings()
    station = Station(settings, choose(settings.bundle, settings.artifacts))
    if settings.pool == "prefork":
        _try_beforehand()
    else:
        station.open()
    _quieten()
    worker = create_worker(station).Worker(
        pool_cls=settings.pool,
        concurrency=settings.processes if settings.pool == "prefork" else settings.messages,
        loglevel=logging.getLevelName(settings.log_level),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    if worker.exitcode:  # as when kombu 5.7 loses Redis with a message in hand; `worker_main` would end with 0
        raise SystemExit(worker.exitcode)


def _try_beforehand() -> None:
    """Load the model once in a process of its own: one that must stay free of native threads until it forks.

    A pool process that cannot load its model would be started again for ever.
    """
    tried = subprocess.run([sys.executable, "-m", "worker", "--check"], check=False)
    if tried.returncode:
        raise SystemExit(tried.returncode)


def _quieten() -> None:
    """Leave out what Celery says of every task, and its warning about root and pickle: none is accepted here."""
    for chatty in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")


def _check(bundle: Bundle, settings: Settings) -> None:
    model = Model.load(
        bundle,
        provider=settings.provider,
        threads=settings.threads,
        precision=settings.precision,
        cache=settings.tensorrt_cache,
    )
    typer.echo(f"{model}\nIt reproduces its golden examples")


def main() -> None:
    """Entry point of `python -m worker`."""
    typer.run(run)
