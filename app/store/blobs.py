"""Blobs: the bytes of ECGs, in the rows of the store, in a directory or on an object store, each under its SHA-256.

Outside the store a blob is written before the transaction that refers to it begins, and is removed after the one that
no longer does. What may be referred to by nobody stands in the table `loose_blobs`, written down beforehand, so that no
crash leaves bytes that nobody knows of, and no sweep ever lists a bucket or touches what is not ours. A row there that
is not due yet keeps the bytes from being swept.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import fsspec
from sqlalchemy import Connection, func, or_, select

from app.store.tables import blobs, loose_blobs

log = logging.getLogger("ecg2cmr.store")

GRACE = timedelta(hours=1)
"""How long bytes may wait for the transaction that refers to them: far longer than any lasts."""


_KEEP = blobs.insert()


class BlobsUnavailable(Exception):
    """The place of the blobs does not answer, or gives other bytes than it was given."""


class Blobs(Protocol):
    """A place outside the store where bytes are kept by name."""

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes durably; the same name again is the same bytes."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a name, or None if there are none."""

    def has(self, name: str) -> bool:
        """Whether a name is kept."""

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens if it is not there."""


@dataclass(frozen=True)
class Directory:
    """A directory: a file is whole under its name or not there, and survives a power cut."""

    root: Path

    def _file(self, name: str) -> Path:
        return self.root / name[:2] / name

    def write(self, name: str, data: bytes) -> None:
        """To a file of another name, to the disk, then renamed."""
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_name(f".{name}.{secrets.token_hex(8)}")
        try:
            with partial.open("xb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        for folder in (file.parent, self.root):
            _sync(folder)

    def read(self, name: str) -> bytes | None:
        """The file's bytes."""
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return self._file(name).is_file()

    def remove(self, name: str) -> None:
        """Unlink the file."""
        with contextlib.suppress(FileNotFoundError):
            self._file(name).unlink()
            _sync(self._file(name).parent)


def _sync(folder: Path) -> None:
    """A new or removed name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Objects:
    """An object store, or whatever else fsspec has a file system for (s3://, gs://, abfs://)."""

    filesystem: fsspec.AbstractFileSystem
    root: str

    def _path(self, name: str) -> str:
        return f"{self.root}/{name[:2]}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """One PUT: object stores show an object whole or not at all."""
        self.filesystem.pipe_file(self._path(name), data)

    def read(self, name: str) -> bytes | None:
        """One GET."""
        try:
            found: bytes = self.filesystem.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return found

    def has(self, name: str) -> bool:
        """One HEAD, never from a cache of listings."""
        self.filesystem.invalidate_cache()
        return bool(self.filesystem.exists(self._path(name)))

    def remove(self, name: str) -> None:
        """One DELETE."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self._path(name))


def at(url: str | None) -> Blobs | None:
    """The place that a setting names: None is the store itself, a path or file:// a directory, else fsspec's.

    Raises
    ------
    BlobsUnavailable
        If no file system for this URL is installed.
    """
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return Directory(Path(unquote(parts.path)).resolve())
    try:
        filesystem, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BlobsUnavailable(f"ECG2CMR_BLOBS_URL: {error}") from error
    return Objects(filesystem, root.rstrip("/"))


def of(connection: Connection) -> Blobs | None:
    """The place of blobs of the store that a transaction belongs to."""
    place: Blobs | None = connection.get_execution_options().get("blobs")
    return place


def digest(data: bytes) -> str:
    """The name of some bytes."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BlobsUnavailable:
        raise
    except Exception as error:  # the file systems of fsspec have no error in common: whatever they raise is an outage
        raise BlobsUnavailable(f"the place of the blobs does not answer: {type(error).__name__}") from error


def write(place: Blobs, contents: Iterable[bytes]) -> None:
    """Write bytes under their names, unless they are there.

    Raises
    ------
    BlobsUnavailable
        If the place does not take them.
    """
    with _answering():
        for data in contents:
            name = digest(data)
            if not place.has(name):
                place.write(name, data)


def announce(connection: Connection, contents: Sequence[bytes]) -> None:
    """Write down that these bytes are about to be written: no sweep removes them for a while, and one does in the end.

    A sweep that is removing the same bytes comes to its end first, so whoever looks for them afterwards sees the truth.
    """
    later = datetime.now(UTC) + GRACE
    names = sorted({digest(data) for data in contents})
    for name in names:
        _lock(connection, name)
    connection.execute(loose_blobs.insert(), [{"digest": name, "due_at": later} for name in names])


def keep(connection: Connection, study_id: str, upload: bytes, recording: bytes) -> None:
    """Keep the bytes of a study: in its row, or in the place outside, where they are by now and the row names them.

    Raises
    ------
    BlobsUnavailable
        If they are to lie outside and were not written ahead, or so long ago that they may have been swept.
    """
    row: dict[str, object] = {"study_id": study_id, "upload_digest": digest(upload)}
    if of(connection) is None:
        connection.execute(_KEEP, {**row, "upload": upload, "recording": recording})
        return
    names = sorted({digest(upload), digest(recording)})
    for name in names:
        _lock(connection, name)
        if not (_announced(connection, name) or _referred_to(connection, name)):
            raise BlobsUnavailable("the bytes of this ECG were not written ahead, or too long ago")
    connection.execute(_KEEP, {**row, "recording_digest": digest(recording)})
    connection.execute(loose_blobs.delete().where(loose_blobs.c.digest.in_(names)))


def read(connection: Connection, stored: bytes | None, name: str | None) -> bytes | None:
    """Bytes from their row, or by their name from outside, as `fetch`."""
    return stored if stored is not None or name is None else fetch(of(connection), name)


def fetch(place: Blobs | None, name: str) -> bytes | None:
    """Bytes by their name; None if they are lost or damaged.

    Raises
    ------
    BlobsUnavailable
        If they lie in a place that is not set or does not answer.
    """
    if place is None:
        raise BlobsUnavailable("the bytes of some ECGs lie outside the store: set ECG2CMR_BLOBS_URL as it was")
    with _answering():
        found = place.read(name)
    if found is not None and digest(found) != name:
        log.error("the blob %s is damaged: it is not what it was", name)
        return None
    return found


def loosen(connection: Connection, names: Sequence[str]) -> None:
    """Write down that a row no longer refers to these: the next sweep removes those that no other does."""
    now = datetime.now(UTC)
    if names and of(connection) is not None:
        connection.execute(loose_blobs.insert(), [{"digest": name, "due_at": now} for name in names])


def sweep(connection: Connection, names: Sequence[str] | None = None, limit: int = 8) -> int:
    """Remove bytes outside that nothing refers to, of these names or of some that are due; how many were looked at."""
    place = of(connection)
    if place is None:
        return 0
    due = loose_blobs.c.due_at <= datetime.now(UTC)
    found = select(loose_blobs.c.digest).where(due).distinct().order_by("digest")
    found = found.limit(limit) if names is None else found.where(loose_blobs.c.digest.in_(names))
    swept = connection.scalars(found).all()
    for name in swept:
        _lock(connection, name)
        if not (_announced(connection, name) or _referred_to(connection, name)):
            with _answering():
                place.remove(name)
        connection.execute(loose_blobs.delete().where(loose_blobs.c.digest == name, due))
    return len(swept)


def _announced(connection: Connection, name: str) -> bool:
    """Whether somebody writes, or has written, these bytes and is about to refer to them."""
    later = (loose_blobs.c.digest == name) & (loose_blobs.c.due_at > datetime.now(UTC))
    return bool(connection.scalar(select(func.count()).select_from(loose_blobs).where(later)))


def _referred_to(connection: Connection, name: str) -> bool:
    outside = blobs.c.recording_digest.is_not(None)
    named = or_(blobs.c.recording_digest == name, blobs.c.upload_digest == name)
    return bool(connection.scalar(select(func.count()).select_from(blobs).where(outside, named)))


def _lock(connection: Connection, name: str) -> None:
    """One transaction at a time keeps or removes bytes of one name. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(int(name[:15], 16))))
