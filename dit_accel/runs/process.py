"""Which process wrote a file, and whether that process is known to be dead.

A process number alone says little: numbers are used again, and containers that share a host's name
may each have a process 17. So a process is named by its *machine* (one boot of one kernel, and the
name space of process numbers in it), its number, and the time at which it started.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

# Start times are derived from the clock at boot, which a time server may move a little.
_START_TOLERANCE = 2.0
_TAG = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Process:
    """A process: `machine` it runs on, `pid` there, and when it `started` (unix seconds)."""

    machine: str
    pid: int
    started: int

    @property
    def tag(self) -> str:
        """The process as a part of a file name; `from_tag` reads it back."""
        return f"{self.machine}-{self.pid}-{self.started}"

    @classmethod
    def from_tag(cls, text: str) -> Process | None:
        """Return the first process that `text` names, or None if it names none."""
        match = _TAG.search(text)
        return cls(match[1], int(match[2]), int(match[3])) if match else None

    def is_known_dead(self) -> bool:
        """Whether the process has certainly ended; False for any process of another machine."""
        if self.machine != this_machine():
            return False
        try:
            process = psutil.Process(self.pid)
            # A killed process whose parent has not asked for its status yet is still listed.
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return abs(process.create_time() - self.started) > _START_TOLERANCE
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def this_process() -> Process:
    """Return the process that asks; right after a fork as well."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Process:
    return Process(this_machine(), pid, int(psutil.Process(pid).create_time()))


@functools.cache
def this_machine() -> str:
    """Return a name of this boot and its space of process numbers, 12 hexadecimal digits."""
    parts = [socket.gethostname()]
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        parts = [boot, os.readlink("/proc/self/ns/pid")]
    except OSError:  # not Linux: the host's name has to do
        pass
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
