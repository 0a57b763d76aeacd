"""Server: a gateway on uvicorn, until it is told to end, or one of its threads dies by a bug.

A gateway that takes ECGs and no longer sends or records them looks well from outside. What starts it again is whatever
started it: Docker, Kubernetes or systemd, which look at the exit status and not at our health.
"""

from __future__ import annotations

import logging
import sys
import threading

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from app.settings import Settings

log = logging.getLogger("ecg2cmr")


class ThreadDied(Exception):
    """A thread ended by a bug, so nobody does its work any more."""


def serve(app: FastAPI, settings: Settings) -> None:
    """Answer requests until a signal says to end.

    Raises
    ------
    ThreadDied
        When any thread of this process did, and everything else has ended in order.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level=settings.log_level.lower(),
            access_log=False,  # paths hold study ids; the metrics count requests by route
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    )
    dead: list[str] = []

    def end(died: threading.ExceptHookArgs) -> None:
        name = died.thread.name if died.thread else "unknown"
        log.critical("the thread %s ended by a bug: this process ends too", name, exc_info=died.exc_value)
        dead.append(name)
        server.should_exit = True

    threading.excepthook = end
    server.run()
    if dead:
        raise ThreadDied(f"a thread ended by a bug: {dead[0]}")
    if not server.started:
        sys.exit(STARTUP_FAILURE)
