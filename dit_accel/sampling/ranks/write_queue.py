"""Work done behind the sampler's back, in order, by one thread that may fall behind only so far."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from types import TracebackType

Job = Callable[[], None]


class WriteQueue:
    """Runs jobs one after the other in a thread of its own.

    ``put`` waits while ``depth`` jobs are queued, which bounds the images held in memory. The
    first job that raises ends the work: what is queued behind it is dropped, and the error comes
    out of the next ``put`` or ``check``, or at the end.

    As a context manager it finishes what is queued on the way out, also when the body raised, so
    that no finished batch is lost; the body's own error then goes first.
    """

    def __init__(self, depth: int = 2) -> None:
        self._jobs: Queue[Job | None] = Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="dit-accel-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job; blocks while the queue is full.

        Raises:
            BaseException: what an earlier job raised.
        """
        self.check()
        self._jobs.put(job)

    def check(self) -> None:
        """Raise what an earlier job raised, if one did."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> WriteQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._jobs.put(None)
        self._thread.join()
        if error is None:
            self.check()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            # After an error the queue is still emptied: a sampler blocked in `put` must wake.
            if self._error is None:
                try:
                    job()
                except BaseException as error:
                    self._error = error
