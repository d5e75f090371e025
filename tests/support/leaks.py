"""What may come before or beside a run, and must leave no trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch
from combinations import STEPS
from diffusers import DDIMScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler
from tiny_models import TinyFamily, ddim, modes
from torch import Tensor

import dit_accel
from dit_accel.errors import RunError
from dit_accel.install import installation_of

NUM_LAYERS = 3  # a first, a last and one between: enough for policies that look at either


class MishapError(RuntimeError):
    """Raised in mid-run."""


class Subject:
    """A plan on tiny pipelines of one family."""

    def __init__(self, family: TinyFamily, plan: dict[str, Any]) -> None:
        self.family, self.plan = family, plan
        self._fresh: dict[str, Tensor] = {}

    def pipeline(self, scheduler: Any = None, seed: int = 0) -> Any:
        """A new one that has never run."""
        pipe = self.family.pipeline(scheduler or ddim(), num_layers=NUM_LAYERS, seed=seed)
        return dit_accel.accelerate(pipe, self.plan)

    def loop(
        self, pipe: Any, samples: tuple[int, ...] = (1, 2), steps: int = STEPS, **kwargs: Any
    ) -> Iterator[Tensor]:
        """The latents of each step of a run."""
        return self.family.steps_of(
            pipe.transformer, samples, steps, scheduler=pipe.scheduler, **kwargs
        )

    def run(self, pipe: Any, **kwargs: Any) -> Tensor:
        """The final latents of a run."""
        return list(self.loop(pipe, **kwargs))[-1]

    def abandon(self, pipe: Any, after: int, **kwargs: Any) -> None:
        """Begin a run and go away in the middle of it."""
        loop = self.loop(pipe, **kwargs)
        for _ in range(after):
            next(loop)

    def break_off(self, pipe: Any, call: int, error: type[BaseException]) -> None:
        """A run that an error ends inside of the last block, in one of its calls."""
        calls = iter(range(1, 100))

        def raising(*_: Any) -> None:
            if next(calls) == call:
                raise error

        # It is entered where it is forecast, too.
        last = pipe.transformer.transformer_blocks[-1]
        handle = last.register_forward_pre_hook(raising)
        try:
            self.run(pipe, samples=(7, 8))
        except error:
            return
        finally:
            handle.remove()
        raise AssertionError(f"the last block was called less than {call} times")

    def fresh(self, scheduler: Callable[[], Any] = ddim, seed: int = 0, **kwargs: Any) -> Tensor:
        """The first run of a new pipeline; made once and compared with many."""
        key = repr((scheduler.__name__, seed, kwargs))
        if key not in self._fresh:
            pipe = self.pipeline(scheduler(), seed)
            self._fresh[key] = self.run(pipe, **kwargs)
            assert set(modes(pipe)) != {"all"}, "nothing was forecast, so that nothing is proved"
            assert nothing_remembered(pipe)
        return self._fresh[key]

    def assert_clean(self, pipe: Any, **kwargs: Any) -> None:
        """The next run of `pipe` is that of a new one, bit for bit."""
        assert torch.equal(self.run(pipe, **kwargs), self.fresh(**kwargs))
        assert nothing_remembered(pipe)


def nothing_remembered(pipe: Any) -> bool:
    installation = installation_of(pipe)
    assert installation is not None
    return installation.nbytes == 0 and installation._caches.is_empty


def new_run(subject: Subject) -> None:
    pipe = subject.pipeline()
    subject.run(pipe, samples=(7, 8))
    subject.assert_clean(pipe)


def changed_batch(subject: Subject) -> None:
    """More rows, fewer, and as many that are samples each."""
    pipe = subject.pipeline()
    subject.run(pipe, samples=(4,))
    subject.assert_clean(pipe)
    subject.run(pipe, samples=(1, 2, 3, 4), guidance="none")
    subject.assert_clean(pipe)


def fewer_steps_than_declared(subject: Subject) -> None:
    """As told by the scheduler, and by `dit_accel.run` to a transformer with guidance calls."""
    pipe = subject.pipeline()
    for after in (1, 4):
        subject.abandon(pipe, after, samples=(7, 8))
        subject.assert_clean(pipe)
    # Site output refuses two calls a step; nothing may be left of that either.
    with suppress(RunError), dit_accel.run(pipe.transformer, STEPS, calls_per_step=2):
        subject.abandon(pipe, 2, samples=(7, 8), guidance="separate")
    assert nothing_remembered(pipe)
    subject.assert_clean(pipe)


def exception(subject: Subject) -> None:
    """In a step after a computed one, and in the one after that."""
    pipe = subject.pipeline()
    for call in (2, 3):
        subject.break_off(pipe, call, MishapError)
        subject.assert_clean(pipe)


def interrupt(subject: Subject) -> None:
    pipe = subject.pipeline()
    for call in (1, 4):
        subject.break_off(pipe, call, KeyboardInterrupt)
        subject.assert_clean(pipe)


def changed_scheduler(subject: Subject) -> None:
    """Another solver between two runs of one, after a run that was left in its middle."""
    pipe = subject.pipeline()
    former = pipe.scheduler
    subject.abandon(pipe, 2)
    pipe.scheduler = UniPCMultistepScheduler()
    assert torch.equal(subject.run(pipe), subject.fresh(UniPCMultistepScheduler))
    pipe.scheduler = former
    subject.assert_clean(pipe)


def run_starts_in_the_middle(subject: Subject) -> None:
    """As image-to-image does: the scheduler has set all timesteps, and the first are left out."""
    pipe = subject.pipeline()
    fresh = subject.run(pipe, start=2)
    for _ in range(2):
        subject.assert_clean(pipe)
        assert torch.equal(subject.run(pipe, start=2), fresh)


def two_evaluations_a_step(subject: Subject) -> None:
    """Heun's, left between the two of a step."""
    pipe = subject.pipeline(HeunDiscreteScheduler())
    evaluations = (STEPS + 1) // 2
    fresh = subject.fresh(HeunDiscreteScheduler, steps=evaluations)
    for after in (2, 3):
        subject.abandon(pipe, after, samples=(7, 8), steps=evaluations)
        assert torch.equal(subject.run(pipe, steps=evaluations), fresh)
        assert nothing_remembered(pipe)


def interleaved_pipelines(subject: Subject) -> None:
    """Step by step, each with weights and samples of its own."""
    runs = [
        subject.loop(subject.pipeline(seed=seed), samples)
        for seed, samples in enumerate(((1, 2), (3,)))
    ]
    (*_, (first, second)) = zip(*runs, strict=True)
    assert torch.equal(first, subject.fresh())
    assert torch.equal(second, subject.fresh(seed=1, samples=(3,)))


def threads(subject: Subject) -> None:
    pipes = [subject.pipeline(seed=seed) for seed in range(2)]
    expected = [subject.fresh(seed=seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            assert all(map(torch.equal, pool.map(subject.run, pipes), expected))


def a_failing_scheduler(subject: Subject) -> None:
    """It raises between two steps, while what the last one left is remembered."""
    scheduler = FailingScheduler.from_config(ddim().config)
    pipe = subject.pipeline(scheduler)
    scheduler.fails_at = 3
    try:
        subject.run(pipe, samples=(7, 8))
    except MishapError:
        subject.assert_clean(pipe)
    else:
        raise AssertionError("the scheduler did not fail")


class FailingScheduler(DDIMScheduler):
    """Raises at one step, once."""

    fails_at = -1

    def step(self, *args: Any, **kwargs: Any) -> Any:
        if self.timesteps.tolist().index(int(args[1])) == self.fails_at:
            self.fails_at = -1
            raise MishapError
        return super().step(*args, **kwargs)


SCENARIOS: dict[str, Callable[[Subject], None]] = {
    scenario.__name__: scenario
    for scenario in (
        new_run,
        changed_batch,
        fewer_steps_than_declared,
        exception,
        interrupt,
        a_failing_scheduler,
        changed_scheduler,
        run_starts_in_the_middle,
        two_evaluations_a_step,
        interleaved_pipelines,
        threads,
    )
}
"""Each asserts that a run equals that of a new pipeline, bit for bit, and that it left nothing."""
