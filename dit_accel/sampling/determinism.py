"""Settings under which torch computes the same bits again, put on for a block and taken off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Deterministic kernels, no autotuning, no TF32; what was set before comes back.

    What diffusers' ``enable_full_determinism`` sets for good. cuBLAS reads its variable when it
    first computes: a process that has used it before without the variable keeps that workspace.

    Raises:
        RuntimeError: inside, from an operation that has no deterministic kernel.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_WORKSPACE, ":16:8"))
        stack.enter_context(_deterministic_algorithms())
        stack.enter_context(_full_precision())
        stack.enter_context(
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
        )
        yield


@contextmanager
def _environment(name: str, default: str) -> Iterator[None]:
    if name in os.environ:
        yield
        return
    os.environ[name] = default
    try:
        yield
    finally:
        os.environ.pop(name, None)


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


@contextmanager
def _full_precision() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
