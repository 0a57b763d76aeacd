"""Submit: a folder of ECGs sent to a gateway over several connections, each until it is taken or refused for good."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import httpx

from models.ecg.errors import EcgError
from models.ecg.source import Source, content, sources

AGAIN = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.CONFLICT)
"""Not now, but later: too fast, too full, or the same request is still under way."""

PAUSE_SECONDS = 5.0
"""Before another attempt where the gateway does not say when, or does not answer."""


IN_HAND = 1000
"""Files that are handed out at a time: of an archive of millions no more than their names is in memory."""


class NotAllowed(Exception):
    """The gateway takes nothing from this key; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file: `status` of HTTP, 0 where nothing was sent; `problem` says why it is not kept."""

    name: str
    digest: str
    status: int
    id: str = ""
    location: str = ""
    problem: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the gateway keeps it."""
        return bool(self.id)


class Resume:
    """A file of what was accepted, line by line, so that another run goes on where this one stopped.

    It holds digests and ids: names of files may be those of patients.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_text().splitlines() if path.is_file() else []
        self._known: dict[str, str] = {}
        for line in lines:
            digest, _, study_id = line.partition(" ")
            if study_id:  # a line that was cut off is no acceptance
                self._known[digest] = study_id

    def known(self, digest: str) -> str | None:
        """The study of what was accepted before, or None."""
        return self._known.get(digest)

    def add(self, outcome: Outcome) -> None:
        """Write down at once that a file was accepted."""
        with self._lock, self._path.open("a") as file:
            self._known[outcome.digest] = outcome.id
            file.write(f"{outcome.digest} {outcome.id}\n")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Where to send, as whom, what to state beside each file, and for how many seconds to try one."""

    url: str
    key: str
    parameters: Mapping[str, str | float]
    connections: int
    give_up_after: float

    def send(self, folder: Path, resume: Resume) -> tuple[int, Iterator[Outcome]]:
        """How many ECGs a folder holds, and what becomes of each, as it does."""
        found = sources(folder)
        return len(found), self._send(found, resume)

    def _send(self, found: list[Source], resume: Resume) -> Iterator[Outcome]:
        run = uuid.uuid4().hex  # another run asks anew, also for what failed in this one
        headers = {"Authorization": f"Bearer {self.key}"}
        limits = httpx.Limits(max_connections=self.connections)
        with (
            httpx.Client(base_url=self.url, headers=headers, limits=limits, timeout=60) as client,
            ThreadPoolExecutor(self.connections) as pool,
        ):
            try:
                for some in (found[start : start + IN_HAND] for start in range(0, len(found), IN_HAND)):
                    yield from pool.map(lambda source: self._one(client, source, resume, run), some)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)  # after Ctrl-C: those in hand, and no more

    def _one(self, client: httpx.Client, source: Source, resume: Resume, run: str) -> Outcome:
        name = str(source.name)
        try:
            data = content(source.path)
        except EcgError as error:
            return Outcome(name=name, digest="", status=0, problem=error.detail)
        except OSError as error:
            return Outcome(name=name, digest="", status=0, problem=error.strerror or "cannot be read")
        digest = hashlib.sha256(repr(sorted(self.parameters.items())).encode() + data).hexdigest()
        study_id = resume.known(digest)
        if study_id is not None:
            return Outcome(name=name, digest=digest, status=0, id=study_id, location=f"/v1/ecgs/{study_id}")
        key = {"Idempotency-Key": f'"{run}-{digest}"'}
        stated = dict(self.parameters)
        response = self._persist(partial(client.post, "/v1/ecgs", content=data, headers=key, params=stated))
        outcome = _outcome(name, digest, response)
        if outcome.accepted:
            resume.add(outcome)
        return outcome

    def _persist(self, post: Callable[[], httpx.Response]) -> httpx.Response | str:
        """The answer that counts, after as many attempts as the gateway asks for; else why there is none."""
        deadline = time.monotonic() + self.give_up_after
        while True:
            pause = PAUSE_SECONDS
            try:
                response = post()
                if response.status_code not in AGAIN:
                    return response
                pause = _retry_after(response)
                told = str(response.status_code)
            except httpx.TransportError as error:
                told = f"no answer ({type(error).__name__})"
            if time.monotonic() + pause > deadline:
                return f"gave up: {told}"
            time.sleep(pause)


def _retry_after(response: httpx.Response) -> float:
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else PAUSE_SECONDS


def _outcome(name: str, digest: str, response: httpx.Response | str) -> Outcome:
    if isinstance(response, str):
        return Outcome(name=name, digest=digest, status=0, problem=response)
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise NotAllowed(response.json()["detail"])
    if response.is_error:
        told = response.json() if "json" in response.headers.get("Content-Type", "") else {}
        problem = told.get("detail", response.reason_phrase)
        return Outcome(name=name, digest=digest, status=response.status_code, problem=problem)
    location = response.headers["Location"]
    study_id = location.rpartition("/")[2]
    return Outcome(name=name, digest=digest, status=response.status_code, id=study_id, location=location)


def write_results(outcomes: list[Outcome], path: Path) -> None:
    """All outcomes as JSON or, if the name does not end so, CSV."""
    ordered = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.name)]
    if path.suffix == ".json":
        path.write_text(json.dumps(ordered, indent=1) + "\n")
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Outcome)])
        writer.writeheader()
        writer.writerows(ordered)
