"""Submit: a folder of ECGs sent to a gateway over several connections, each until it is taken or refused for good."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TextIO

import httpx

from models.ecg.errors import EcgError
from models.ecg.source import Source, content, sources

AGAIN = (
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.CONFLICT,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
"""Not now, but later: too fast, the same request is still under way, too full, or a proxy finds no gateway."""

PAUSE_SECONDS = 5.0
"""Before another attempt where the gateway does not say when, or does not answer."""

IN_HAND = 1000
"""Files that are handed out at a time: of an archive of millions there are names in memory, digests and ids."""

SHOWN = 20
"""Refused files that are told at the end of a run; the results tell all."""

_STUDY = re.compile(r".*/v1/ecgs/([0-9a-f]{32})")
_ACCEPTED = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{32})")


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
            if found := _ACCEPTED.fullmatch(line):  # a line that was cut off is no acceptance
                self._known[found[1]] = found[2]

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

    @property
    def _addressed(self) -> bytes:
        """What of a submission makes it another one, for the same file."""
        return repr((self.url.rstrip("/"), sorted(self.parameters.items()))).encode()

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
        digest = hashlib.sha256(self._addressed + data).hexdigest()
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


def accepted(response: httpx.Response) -> str | None:
    """The id of the study that a gateway took on; None where the answer is a refusal, or that of another server."""
    found = _STUDY.fullmatch(response.headers.get("Location", ""))
    return found[1] if found and response.status_code in {httpx.codes.OK, httpx.codes.ACCEPTED} else None


def refusal(response: httpx.Response) -> Mapping[str, str]:
    """The problem (RFC 9457) that a gateway tells, or the like for the answer of another server, such as a proxy."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if response.is_error and isinstance(problem, dict) and "detail" in problem:
        return problem
    told = f"{response.status_code} {response.reason_phrase}".rstrip()
    if response.has_redirect_location:
        told += f" to {response.headers['Location']}: give the address of the gateway itself"
    return {"title": "This is no answer of a gateway", "detail": told, "advice": "Check the address."}


def _outcome(name: str, digest: str, response: httpx.Response | str) -> Outcome:
    if isinstance(response, str):
        return Outcome(name=name, digest=digest, status=0, problem=response)
    study_id = accepted(response)
    if study_id is not None:
        location = response.headers["Location"]
        return Outcome(name=name, digest=digest, status=response.status_code, id=study_id, location=location)
    problem = refusal(response)["detail"]
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise NotAllowed(problem)
    return Outcome(name=name, digest=digest, status=response.status_code, problem=problem)


@dataclass
class Tally:
    """How many files were accepted now, or before, or not; and the first of those that were not."""

    sent: int = 0
    known: int = 0
    refused: int = 0
    first_refused: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        if not outcome.accepted:
            self.refused += 1
            self.first_refused += [outcome] if self.refused <= SHOWN else []
        elif outcome.status:
            self.sent += 1
        else:
            self.known += 1


@contextlib.contextmanager
def writing(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """Where each outcome is written as it comes: JSON or, if the name does not end so, CSV; without one, nowhere."""
    if path is None:
        yield lambda _: None
        return
    with path.open("w", newline="") as file, (_json if path.suffix == ".json" else _csv)(file) as write:
        yield write


@contextlib.contextmanager
def _csv(file: TextIO) -> Iterator[Callable[[Outcome], None]]:
    table = csv.DictWriter(file, [column.name for column in fields(Outcome)])
    table.writeheader()
    yield lambda outcome: table.writerow(asdict(outcome))


@contextlib.contextmanager
def _json(file: TextIO) -> Iterator[Callable[[Outcome], None]]:
    between = itertools.chain(["\n"], itertools.repeat(",\n"))
    file.write("[")
    try:
        yield lambda outcome: print(next(between), json.dumps(asdict(outcome)), sep="", end="", file=file)
    finally:  # a run that is stopped leaves JSON too
        file.write("\n]\n")
