"""Pictures decoded by a few threads ahead of the network that looks at them, never all at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], ahead: int = 64
) -> Iterator[Result]:
    """``map(read, items)`` in order, on threads, with at most `ahead` results waiting.

    Pillow gives the interpreter lock back while it decodes, so threads are enough.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        waiting: deque[Future[Result]] = deque(
            pool.submit(read, item) for item in islice(source, ahead)
        )
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(read, item) for item in islice(source, 1))
                yield done
        finally:
            # A reader that stops early (an error, a closed generator) must not wait for the rest.
            for future in waiting:
                future.cancel()


def in_batches(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stack pictures ``[H, W, 3]`` into ``[B, H, W, 3]``, ``B <= size``, keeping their order.

    A batch ends early where the next picture has another height or width.
    """
    held: list[np.ndarray] = []
    for image in images:
        if held and (len(held) == size or held[0].shape != image.shape):
            yield np.stack(held)
            held = []
        held.append(image)
    if held:
        yield np.stack(held)
