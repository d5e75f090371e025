"""What every test runs under: few threads, a fixed seed, and skips that say why."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from products import repeated_on_other_families

# The models in the tests are tiny: more threads only wait for each other, and for the processes
# of pytest-xdist. Those that a test starts hear of it by the variable.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@functools.cache
def _compiler_problem() -> str | None:
    """Why torch.compile cannot build for the CPU here, or None if it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        compiler = get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler (remedy: apt install g++ python3-dev)"
    return _trial_build_problem(compiler)


def _trial_build_problem(compiler: str) -> str | None:
    """Why `compiler` cannot build what torch.compile writes, which includes Python's header."""
    with TemporaryDirectory() as folder:
        source = Path(folder, "trial.cpp")
        source.write_text("#include <cmath>\n#include <Python.h>\n")
        include = f"-I{sysconfig.get_path('include')}"
        command = [compiler, include, "-c", str(source), "-o", str(Path(folder, "trial.o"))]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode == 0:
        return None
    return f"no working C++ build (remedy: apt install g++ python3-dev): {built.stderr[:200]}"


@pytest.hookimpl(tryfirst=True)  # before items are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in repeated_on_other_families(items):
        item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, naming what is missing."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    if item.get_closest_marker("requires_compiler") and (problem := _compiler_problem()):
        pytest.skip(problem)


@pytest.fixture(autouse=True, scope="module")
def _collector_sees_this_module_alone() -> None:
    """What was imported and made before is never garbage: each collection would look through it.

    That takes seconds where tests ask whether anything is left of a model.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fixed_seed() -> Iterator[None]:
    """Start each test from the same global random state, and give the caller's back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def _own_precision() -> Iterator[None]:
    """A process may ask accelerate for one precision only; each test is one of its own in that."""
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="session", params=["dit-photos", "pixart-photos"])
def _loaded_reference(request: pytest.FixtureRequest) -> Any:
    from dit_accel.sampling.loading import load_pipeline

    return load_pipeline(request.param, "float32", "cpu")


@pytest.fixture
def reference_pipeline(_loaded_reference: Any) -> Iterator[Any]:
    """Each shipped pipeline in turn, dense; one object for all tests, restored after each.

    ``reference_batches.batch_of`` makes the seeds and conditions of a batch for it.
    """
    import dit_accel

    yield _loaded_reference
    dit_accel.restore(_loaded_reference)
