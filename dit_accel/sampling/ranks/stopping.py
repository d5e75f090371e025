"""Ctrl-C and SIGTERM as a wish: finish the batch in hand, then leave everything in order."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher passes Ctrl-C on to processes that the terminal has told already: what comes this
# soon after the first signal is the same wish.
ECHO_SECONDS = 1.0
_ANNOUNCEMENT = b"\nstopping after the batch in hand; once more to stop at once\n"


class StopRequest:
    """Whether the work should stop, and which signal asked for it first.

    Where signals do not reach, in an actor for instance, ``request`` stands for one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._since = 0.0

    @property
    def requested(self) -> bool:
        """True once a signal has come."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended by this signal: 130 or 143; 0 if none."""
        return 0 if self.signal is None else 128 + self.signal

    def request(self, number: int) -> None:
        """Ask for a stop as the signal ``number`` would; may be called from any thread."""
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # Nothing here takes a lock (no print, no threading.Event): a handler runs between any two
        # instructions of the main thread, which may hold that very lock.
        if self.signal is None:
            self.request(number)
            with suppress(OSError):  # nobody reads standard error any more: still no reason to fall
                os.write(2, _ANNOUNCEMENT)
        elif time.monotonic() - self._since > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def stop_on_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request; a second one ends the process at once.

    The former handlers are put back at the end. Outside of the main thread, where Python allows
    no handlers, the request comes from its ``request`` only and signals keep their meaning.

    Args:
        request: where to enter it; a new one by default.
    """
    request = request or StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {number: signal.signal(number, request._receive) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in former.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
