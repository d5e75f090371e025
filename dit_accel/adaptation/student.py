"""The student: the teacher's transformer under the plan, and the parameters of it that train."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import dit_accel
from dit_accel.adaptation.config import LoraConfig, Trains
from dit_accel.errors import DitAccelError, mismatch
from dit_accel.learned_parts import learned_parts
from dit_accel.plan import Plan

LORA_NAME = "dit_accel"
# Of DiT: `norm1.linear`. Of PixArt: tables a block, and the one projection that they share.
_NORMS = ("norm1.", "norm2.", "norm3.", "scale_shift_table", "adaln_single.linear.")


class Student(nn.Module):
    """A transformer with its plan in place, and the plan's learned parts, as one module to train.

    Args:
        teacher: the dense transformer.
        plan: that is put on the copy.
        trains: which parameters.
        lora: with `trains` of that name.
        seed: of whatever is drawn for new parts.
        freeze: parts of the names of the model's own parameters that never train.

    Attributes:
        transformer: a copy of the teacher's that shares what does not train.
        learned: the plan's parts.
    """

    def __init__(
        self,
        teacher: Any,
        plan: Plan,
        trains: Trains,
        lora: LoraConfig,
        seed: int,
        freeze: Sequence[str] = (),
    ) -> None:
        super().__init__()
        base = base_parameters(teacher, trains, freeze)
        self.transformer = _copy(teacher, base)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if trains == "lora":
                _add_lora(self.transformer, lora)
            dit_accel.accelerate(self.transformer, plan)
        self.learned = learned_parts(self.transformer)
        _choose(self, base)
        # eval() leaves gradients alone; it keeps labels from being dropped by the global random
        # state. They are dropped batch by batch, from the batch's own generator.
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The transformer's output `[B, Co, h, w]`."""
        output: Tensor = self.transformer(*args, **kwargs, return_dict=False)[0]
        return output

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """What trains, by its name."""
        return {name: each for name, each in self.named_parameters() if each.requires_grad}

    def tensors(self) -> dict[str, Tensor]:
        """What trains, as an adapter names it."""
        return dict(_adapter_names(self))


def _copy(teacher: nn.Module, base: Set[str]) -> Any:
    """Modules of one's own; parameters of one's own only where they train."""
    trained = {id(each) for name, each in teacher.named_parameters() if name in base}
    shared = [each for each in teacher.parameters() if id(each) not in trained]
    return copy.deepcopy(teacher, {id(each): each for each in [*shared, *teacher.buffers()]})


def base_parameters(teacher: nn.Module, trains: Trains, freeze: Sequence[str]) -> set[str]:
    """Names of the model's own parameters that train.

    Raises:
        DitAccelError: an entry of `freeze` is in no name.
    """
    names = [name for name, _ in teacher.named_parameters()]
    for mark in freeze:
        if not any(mark in name for name in names):
            expected = f"a part of the names of parameters, such as {names[0]}"
            raise DitAccelError("freeze: " + mismatch(mark, expected, "correct it"))
    free = [name for name in names if not any(mark in name for mark in freeze)]
    return {name for name in free if trains == "all" or (trains == "new+norm" and is_norm(name))}


def is_norm(name: str) -> bool:
    """Whether a parameter belongs to a norm or to the modulation of one."""
    # The timestep and label embedders inside DiT's norms are no norms.
    return any(f".{mark}" in f".{name}" for mark in _NORMS) and ".emb." not in name


def _add_lora(transformer: Any, lora: LoraConfig) -> None:
    try:
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    except ImportError:
        raise DitAccelError(
            "train: lora needs the package peft, which is not installed; pip install"
            " 'dit-accel[train]', or train: new+norm"
        ) from None
    targets = [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear)
        and any(f".{name}".endswith(f".{layer}") for layer in lora.layers)
    ]
    if not targets:
        linear = [name for name, each in transformer.named_modules() if isinstance(each, nn.Linear)]
        expected = f"ends of the names of linear layers, such as {', '.join(linear[-3:])}"
        raise DitAccelError("lora.layers: " + mismatch(list(lora.layers), expected, "correct them"))
    config = PeftConfig(r=lora.rank, lora_alpha=lora.rank, target_modules=targets)
    # What diffusers' add_adapter does as well, which its DiTTransformer2DModel has not.
    inject_adapter_in_model(config, transformer, adapter_name=LORA_NAME)


def _choose(student: Student, base: Set[str]) -> None:
    """Let exactly those parameters train that are to."""
    own = {id(each) for each in student.learned.parameters()}
    for name, parameter in student.transformer.named_parameters():
        low_rank = f".{LORA_NAME}." in name
        parameter.requires_grad_(low_rank or id(parameter) in own or name in base)
    student.learned.requires_grad_(True)
    if not student.trained:
        raise DitAccelError(
            "train: new leaves nothing to train, because this plan brings no learned parts"
            " along (density sparse does); choose new+norm, lora or all"
        )


def _adapter_names(student: Student) -> Iterator[tuple[str, Tensor]]:
    own = {id(each) for each in student.learned.parameters()}
    for name, tensor in student.learned.state_dict().items():
        yield f"learned.{name}", tensor
    for name, parameter in student.transformer.named_parameters():
        if not parameter.requires_grad or id(parameter) in own:
            continue
        if f".{LORA_NAME}." in name:
            layer, _, side = name.removesuffix(f".{LORA_NAME}.weight").rpartition(".")
            yield f"lora.{layer}.{'down' if side == 'lora_A' else 'up'}", parameter
        else:
            yield f"base.{name.replace('.base_layer.', '.')}", parameter


@contextmanager
def block_outputs(transformer: nn.Module, blocks: list[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Hidden states `[B, N, C]` after each block of the forwards inside, by layer."""
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            found[layer] = output

        return hook

    handles = [block.register_forward_hook(keep(layer)) for layer, block in enumerate(blocks)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
