"""HTTP load: ECGs that nobody has seen, sent over connections that are kept; the least that asking can cost."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from benchmarks.servers import port
from models.ecg import LEADS, Recording, decode

KEY, PORT = "benchmark", port()

HEADERS = {"Authorization": f"Bearer {KEY}", "Prefer": "wait=60"}


class Payload:
    """ECGs without end, each another: the first samples of a real one are replaced by a number."""

    def __init__(self, kind: str) -> None:
        dicom = Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()
        recording = decode(dicom)
        self.kind, self.query, self._number = kind, "", int(time.time()) % 2**20
        if kind == "npy":
            self._file, self._place = _npy(recording)
            self.query = f"?sampling_rate=500&unit=uV&leads={','.join(LEADS)}"
        else:
            first = pydicom.dcmread(io.BytesIO(dicom)).WaveformSequence[0].WaveformData
            self._file, self._place = bytearray(dicom), dicom.index(first)

    def next(self) -> bytes:
        """Another ECG."""
        self._number += 1
        digits = [(self._number >> shift) % 32 for shift in (0, 5, 10, 15, 20)]
        self._file[self._place : self._place + 10] = np.array(digits, "<i2").tobytes()
        return bytes(self._file)


def _npy(recording: Recording) -> tuple[bytearray, int]:
    microvolts = np.rint(recording.signal[:, ::2] * 1000).astype("<i2")
    file = io.BytesIO()
    np.save(file, microvolts)
    return bytearray(file.getvalue()), len(file.getvalue()) - microvolts.nbytes


class Client:
    """One connection that is kept: the least that HTTP costs, so that the load does not take what is measured."""

    async def __aenter__(self) -> Client:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", PORT)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, payload: Payload) -> float:
        """Send one ECG and wait for its report; the seconds it took."""
        body = payload.next()
        headers = {**HEADERS, "Host": "localhost", "Content-Length": str(len(body))}
        lines = [f"POST /v1/ecgs{payload.query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        started = time.perf_counter()
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        report = await self._reader.readexactly(length)
        if not head.startswith("http/1.1 200") or b'"status":"done"' not in report:
            raise SystemExit(f"{head}{report[:500]!r}")
        return time.perf_counter() - started


async def closed(
    clients: int, seconds: float, payload: Payload, after: Callable[[], None]
) -> tuple[list[float], float]:
    """Each client asks again as soon as it was answered; latencies, and ECGs a second."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def ask() -> None:
        async with Client() as client:
            while time.perf_counter() < started + seconds:
                latencies.append(await client.post(payload))
                after()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return latencies, len(latencies) / (time.perf_counter() - started)


async def opened(rate: float, seconds: float, payload: Payload) -> list[float]:
    """Requests come by chance, `rate` a second, whether or not the last one was answered; latencies."""
    idle: list[Client] = []
    latencies: list[float] = []
    random = np.random.default_rng(0)

    async def ask() -> None:
        client = idle.pop() if idle else await Client().__aenter__()
        latencies.append(await client.post(payload))
        idle.append(client)

    ends, asked = time.perf_counter() + seconds, list[Awaitable[None]]()
    while time.perf_counter() < ends:
        asked.append(asyncio.ensure_future(ask()))
        await asyncio.sleep(float(random.exponential(1 / rate)))
    await asyncio.gather(*asked)
    return latencies
