"""What every peer says of itself, and what is left to do once it is attached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.plan import Plan


class AttachedPeer(Protocol):
    """A peer at work on one pipeline."""

    def begin(self) -> None:
        """Forget the run before; call it before every run."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that it keeps from step to step."""


class Peer(StrictModel, ABC):
    """One setting of somebody else's cache.

    Attributes:
        per_batch: whether it takes one decision for all rows of a call, so that what becomes of a
            picture depends on the pictures beside it.
    """

    per_batch: ClassVar[bool]

    @property
    @abstractmethod
    def label(self) -> str:
        """What the tables call it."""

    def check(self, num_layers: int) -> None:
        """Refuse what cannot run on a model of so many blocks; nothing is loaded for it.

        Raises:
            DitAccelError: naming the field, or the package that is missing.
        """

    @abstractmethod
    def attach(self, pipe: Any, exact: Plan) -> AttachedPeer:
        """Put the peer to work on `pipe`, whose transformer nobody else uses.

        Args:
            pipe: a drop-in pipeline without a plan.
            exact: rewrites that the dense rivals have, and the peer is to have as well.
        """


def tensor_bytes(values: Iterable[Any]) -> int:
    """Bytes of all tensors in nested lists and mappings; one that is there twice counts once."""
    found = {tensor.data_ptr(): tensor.nbytes for tensor in _tensors(values)}
    return sum(found.values())


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)
