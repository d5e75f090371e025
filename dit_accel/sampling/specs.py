"""What decides one image: its index, its seed, its condition; nothing about ranks or batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from dit_accel.sampling.conditions import Conditions


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """One image to make.

    Attributes:
        index: its place in the set, from 0; also its name.
        seed: of its own generator, which draws the initial noise and the solver's noise.
        class_label: number of its class, for class-conditional models.
        prompt: its text, for text-conditional models; may be empty.
    """

    index: int
    seed: int
    class_label: int | None = None
    prompt: str | None = None


class Specs(Sequence[SampleSpec]):
    """Spec ``i`` has the seed ``seed + i`` and the condition ``i``; made when it is asked for.

    Args:
        conditions: one an image.
        seed: of image 0.
    """

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.conditions, self.seed = conditions, seed

    def __len__(self) -> int:
        return len(self.conditions.items)

    @overload
    def __getitem__(self, index: int) -> SampleSpec: ...

    @overload
    def __getitem__(self, index: slice) -> list[SampleSpec]: ...

    def __getitem__(self, index: int | slice) -> SampleSpec | list[SampleSpec]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self._spec(place) for place in places]
        return self._spec(places)

    def _spec(self, index: int) -> SampleSpec:
        condition = self.conditions.items[index]
        if isinstance(condition, str):
            return SampleSpec(index, self.seed + index, prompt=condition)
        return SampleSpec(index, self.seed + index, class_label=condition)
