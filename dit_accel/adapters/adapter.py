"""An adapter in memory: a record, and the tensors of three kinds.

* `learned.NAME`: weights of a plan's own learned parts;
* `base.NAME`: a parameter of the transformer, in full;
* `lora.MODULE.down`, `lora.MODULE.up`: `[r, in]` and `[out, r]`, whose product is added to the
  weight of a linear layer: `W + up @ down` (arXiv 2106.09685), so that nothing is slower for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dit_accel.adapters.record import AdapterRecord
from dit_accel.adapters.weights_in_place import parameter_places
from dit_accel.calibration_record import model_hash, same_weights, sampled_weights
from dit_accel.errors import PlanError, Problem, show
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.reading import read_method
from dit_accel.methods.sparse_density import SparseDensity

if TYPE_CHECKING:
    from dit_accel.plan import Plan

_REMEDY = (
    "load the model that it was trained on, or train one for this (dit-accel train,"
    " docs/adaptation.md)"
)
_MOST_NAMED = 3


@dataclass(frozen=True)
class Adapter:
    """Trained weights and what they belong to.

    Attributes:
        record: what the file says of itself.
        tensors: by name, on the CPU.
    """

    record: AdapterRecord
    tensors: Mapping[str, Tensor]

    @cached_property
    def learned(self) -> dict[str, Tensor]:
        """Weights of learned parts, by their name in the `ModuleDict`."""
        return self._of_kind("learned.")

    @cached_property
    def changed_weights(self) -> tuple[str, ...]:
        """Names of the transformer's own parameters that differ from the base model's."""
        full, low_rank = self._of_kind("base."), self._of_kind("lora.")
        layers = {name.rpartition(".")[0] for name in low_rank}
        return tuple(sorted({*full, *(f"{layer}.weight" for layer in layers)}))

    @property
    def num_parameters(self) -> int:
        """Numbers in the file."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def changed(self, name: str, own: Tensor) -> Tensor:
        """What stands in for the transformer's `own` parameter, where and in the type it is."""
        value = self.tensors.get(f"base.{name}")
        if value is None:
            value = own.float()
        layer = name.removesuffix(".weight")
        if f"lora.{layer}.down" in self.tensors:
            up, down = (self.tensors[f"lora.{layer}.{kind}"] for kind in ("up", "down"))
            product = up.to(own.device, torch.float32) @ down.to(own.device, torch.float32)
            value = value.to(own.device, torch.float32) + product
        return value.to(own.device, own.dtype)

    def check(self, transformer: nn.Module, plan: Plan) -> None:
        """Refuse a transformer or a plan that it was not trained for; nothing is changed.

        Raises:
            PlanError: naming both sides of everything that differs.
        """
        problems = self._other_model(transformer)
        if not problems:
            problems = self._other_shapes(transformer) + self._other_parts(transformer, plan)
        if problems:
            raise PlanError(*(Problem("adapter", each) for each in problems), source="plan")

    def fill(self, parts: nn.ModuleDict) -> None:
        """Give learned parts their weights.

        Raises:
            PlanError: the names or shapes are others.
        """
        there = parts.state_dict()
        problems = _shape_differences(self.learned, there, "the plan's learned parts")
        problems += [
            f"{name} of the plan's learned parts is not in it; {_REMEDY}"
            for name in sorted(there.keys() - self.learned.keys())[:_MOST_NAMED]
        ]
        if problems:
            raise PlanError(*(Problem("adapter", each) for each in problems), source="plan")
        if not any(each.is_meta for each in parts.parameters()):  # shapes are all that those have
            parts.load_state_dict(dict(self.learned))

    def _of_kind(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def _other_model(self, transformer: nn.Module) -> list[str]:
        found, record = model_hash(transformer), self.record
        here = f"{type(transformer).__name__} with {_shape_of(transformer)}"
        if found != record.model:
            return [
                f"trained on {record.base} (config {record.model}), but this is a {here} (config"
                f" {found}); {_REMEDY}"
            ]
        if not same_weights(sampled_weights(transformer), record.weights):
            return [
                f"trained on {record.base}, but the weights of this {here} are others: the config"
                f" is the same; {_REMEDY}"
            ]
        return []

    def _other_shapes(self, transformer: nn.Module) -> list[str]:
        shapes = {
            name: getattr(*places[0]) for name, places in parameter_places(transformer).items()
        }
        missing = [name for name in self.changed_weights if name not in shapes]
        found = [f"this model has no {name}; {_REMEDY}" for name in missing[:_MOST_NAMED]]
        if found:
            return found
        with torch.device("meta"):
            wanted = {
                name: self._changed_shape(name, torch.empty(shapes[name].shape))
                for name in self.changed_weights
            }
        return _shape_differences(wanted, shapes, "this model")

    def _changed_shape(self, name: str, own: Tensor) -> Tensor:
        layer = name.removesuffix(".weight")
        if f"lora.{layer}.up" in self.tensors:
            up, down = (self.tensors[f"lora.{layer}.{kind}"] for kind in ("up", "down"))
            return torch.empty(up.shape[0], down.shape[1])
        return torch.empty(self.tensors[f"base.{name}"].shape)

    def _other_parts(self, transformer: Any, plan: Plan) -> list[str]:
        if not self.learned:
            return []
        num_layers = transformer.config.num_layers
        trained = _of_parts(read_method(self.record.plan.get("density"), "density"), num_layers)
        here = _of_parts(plan.density, num_layers)
        differing = [key for key in trained if trained[key] != here.get(key)]
        return [
            f"it was trained for density.{key} {show(trained[key], 120)}, but the plan's is"
            f" {show(here.get(key), 120)}; give the plan the former, or remove the adapter"
            for key in differing[:1]
        ]


def _of_parts(density: MethodConfig | None, num_layers: int) -> dict[str, Any]:
    """What decides what a density's parts have learned, defaults said aloud."""
    kind = {"kind": None if density is None else density.method}
    if isinstance(density, SparseDensity):
        return kind | density.decides_parts(num_layers)
    return kind


def _shape_of(transformer: Any) -> str:
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    return f"{config.num_layers} blocks of width {width}"


def _shape_differences(
    wanted: Mapping[str, Tensor], there: Mapping[str, Tensor], what: str
) -> list[str]:
    problems = []
    for name, tensor in wanted.items():
        shape = list(there[name].shape) if name in there else "not there"
        if shape != list(tensor.shape):
            problems.append(
                f"{name} is {list(tensor.shape)} in the adapter and {shape} in {what}; {_REMEDY}"
            )
    return problems[:_MOST_NAMED]
