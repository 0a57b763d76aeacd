"""Alive: does the worker of this machine take work? For probes: `python -m worker.alive` ends with 0 if it answers."""

from __future__ import annotations

import socket
from typing import Annotated

import typer
from celery import Celery
from kombu.exceptions import OperationalError

from worker.settings import Settings


def answers(broker_url: str, name: str, patience: float) -> bool:
    """Ask the worker of this node name over the broker; True if it answers within `patience` seconds.

    Raises
    ------
    kombu.exceptions.OperationalError
        If the broker does not answer.
    """
    celery = Celery("ecg2cmr-probe", broker=broker_url)
    # A worker hears msgpack only (worker.tasks) and answers in Celery's JSON.
    celery.conf.update(
        task_serializer="msgpack",
        accept_content=["msgpack", "json"],
        broker_transport_options={"socket_timeout": patience + 5.0, "socket_connect_timeout": 2.0},
    )
    with celery.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0.1)
        return bool(celery.control.ping(destination=[name], timeout=patience, connection=connection, limit=1))


def run(
    broker_may_be_down: Annotated[
        bool,
        typer.Option("--broker-may-be-down", help="Take a broker that does not answer for no fault of the worker."),
    ] = False,
    patience: Annotated[float, typer.Option(help="Seconds; a worker finishes the ECG in hand.")] = 10.0,
) -> None:
    """End with 0 if the worker of this machine answers, with 1 if it does not."""
    try:
        alive = answers(Settings().broker_url, f"celery@{socket.gethostname()}", patience)
    except OperationalError as error:
        typer.echo(f"the broker does not answer ({type(error).__name__})", err=True)
        alive = broker_may_be_down
    raise typer.Exit(0 if alive else 1)


if __name__ == "__main__":
    typer.run(run)
