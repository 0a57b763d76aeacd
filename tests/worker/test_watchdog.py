"""A worker that hangs ends itself, one that is only idle does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from worker.watchdog import HUNG

WORK = """
import time
from worker.watchdog import Watchdog

watchdog = Watchdog(0.2)
watchdog.start()
with watchdog.watching():
    time.sleep({hangs})
time.sleep({rests})
"""


@pytest.mark.parametrize(("hangs", "rests", "status"), [(60, 0, HUNG), (0, 1, 0)])
def test_a_message_that_takes_too_long_ends_the_process(hangs: int, rests: int, status: int) -> None:
    program = WORK.format(hangs=hangs, rests=rests)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)
    assert ended.returncode == status, ended.stderr
