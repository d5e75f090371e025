"""The rewrites of a plan at work on one transformer, and the conditions under which they act.

They act on inference in a model's own precision. With gradients, in training mode and under
autocast each rewrite stands aside and the forward is the stock one; so does a single rewrite where
somebody put an adapter, a quantised layer or a hook of theirs.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dit_accel.backbones import Backbone
from dit_accel.exact.channels_last import decoder_of, put_channels_last, restore_memory_format
from dit_accel.exact.config import Exact
from dit_accel.exact.forward import Forward, Rewrite
from dit_accel.exact.fused_projections import FusedProjections
from dit_accel.exact.guidance_rows import GuidanceRows
from dit_accel.exact.host_values import HostValues
from dit_accel.exact.regional_compile import RegionalCompile
from dit_accel.exact.row_keys import row_keys
from dit_accel.exact.text_keys_values import TextKeysValues
from dit_accel.methods.cell import Operators
from dit_accel.run_state import Position


@dataclass(frozen=True)
class RunFacts:
    """What the installation knows of the run that a forward belongs to.

    Attributes:
        guided: whether rows b and b + R/2 belong to one sample, `None` if nobody said so.
        scheduler: the one that is observed, if any.
        computes: for each step, whether its blocks run or may run; empty if that is not known.
        blocks_run: whether they run or may run in this forward.
    """

    guided: bool | None = None
    scheduler: Any = None
    computes: Sequence[bool] = ()
    blocks_run: bool = True


class ExactRewrites:
    """Attached from construction to `remove`.

    Attributes:
        most_bytes: the most bytes that were kept.

    Args:
        exact: which rewrites are on.
        transformer: the transformer.
        backbone: its family.
        pipeline: the pipeline around it, whose autoencoder is prepared; `None` for a bare one.
    """

    def __init__(
        self, exact: Exact, transformer: nn.Module, backbone: Backbone, pipeline: Any = None
    ) -> None:
        self._exact, self._backbone = exact, backbone
        self._values = HostValues()
        self._announced: list[float] = []
        self._upcoming: tuple[list[float], torch.dtype, list[float]] = ([], torch.int64, [])
        self._rewrites: dict[str, Rewrite] = {}
        self.most_bytes = 0
        self._compiled: RegionalCompile | None = None
        self._attach(transformer)
        decoder = decoder_of(pipeline) if exact.channels_last else None
        self._decoder = None if decoder is None else weakref.ref(decoder)
        if decoder is not None:
            put_channels_last(decoder)
        if exact.compile:
            self._compiled = RegionalCompile(backbone.blocks(transformer))

    def _attach(self, transformer: nn.Module) -> None:
        exact, backbone, blocks = self._exact, self._backbone, self._backbone.blocks(transformer)
        projection = backbone.text_projection(transformer)
        cross = [a for block in blocks if (a := backbone.cross_attention(block)) is not None]
        keeps_text = exact.text_keys_values and projection is not None
        if exact.modulations:
            self._rewrites["modulations"] = backbone.modulations(transformer)
        if keeps_text:
            self._rewrites["text_keys_values"] = TextKeysValues(transformer, cross)
        if exact.guidance_rows:
            first = backbone.self_attention(blocks[0]) if cross else None
            patches = backbone.patch_embedding(transformer)
            self._rewrites["guidance_rows"] = GuidanceRows(patches, first)
        if exact.fused_projections:
            attentions = [backbone.self_attention(block) for block in blocks]
            # What is computed once a run gains nothing from being fused.
            fused = FusedProjections(attentions, [] if keeps_text else cross)
            self._rewrites["fused_projections"] = fused

    @property
    def names(self) -> tuple[str, ...]:
        """The rewrites that have something to do with this model."""
        beside = {"channels_last": self._decoder is not None, "compile": self._compiled is not None}
        return (*self._rewrites, *(name for name, on in beside.items() if on))

    def announce(self, timesteps: Sequence[float]) -> None:
        """The timesteps of a run whose scheduler nobody observes; empty when it is over."""
        self._announced = list(timesteps)

    def begin_forward(
        self,
        transformer: nn.Module,
        arguments: Mapping[str, Any],
        position: Position,
        layers: Sequence[Operators],
        run: RunFacts,
    ) -> dict[str, Any]:
        """Settle what each rewrite does; returns the arguments to be replaced."""
        if _must_stand_aside(transformer, arguments["hidden_states"]):
            for rewrite in self._rewrites.values():
                rewrite.stand_aside()
            return {}
        forward = self._forward(arguments, position, layers, run)
        replaced: dict[str, Any] = {}
        for rewrite in self._rewrites.values():
            replaced |= rewrite.begin_forward(forward)
        held = sum(rewrite.nbytes for rewrite in self._rewrites.values())
        self.most_bytes = max(self.most_bytes, held)
        return replaced

    def _forward(
        self,
        arguments: Mapping[str, Any],
        position: Position,
        layers: Sequence[Operators],
        run: RunFacts,
    ) -> Forward:
        keys = None
        if self._exact.modulations or self._exact.guidance_rows:
            timesteps = getattr(run.scheduler, "timesteps", None)
            self._values.expect(timesteps if torch.is_tensor(timesteps) else None)
            conditions = self._backbone.conditions(arguments)
            keys = row_keys(arguments, conditions, self._values, position.step)
        upcoming = [] if keys is None else self._upcoming_as(arguments["timestep"].dtype)
        computed = upcoming
        if len(upcoming) == len(run.computes):
            computed = [time for time, runs in zip(upcoming, run.computes, strict=True) if runs]
        return Forward(
            arguments=arguments,
            branch=position.branch,
            layers=layers,
            keys=keys,
            upcoming=upcoming,
            computed=computed,
            blocks_run=run.blocks_run,
            guided=run.guided,
        )

    def _upcoming_as(self, dtype: torch.dtype) -> list[float]:
        """The run's timesteps, rounded as the transformer is told them."""
        known = self._announced or self._values.upcoming
        source, as_dtype, _ = self._upcoming
        if source is not known or as_dtype != dtype:
            self._upcoming = known, dtype, torch.tensor(known, dtype=dtype).tolist()
        return self._upcoming[2]

    def forget(self) -> None:
        """The run is over, or another one begins."""
        for rewrite in self._rewrites.values():
            rewrite.forget()

    def remove(self) -> None:
        """Undo what hooks do not undo when they are taken off."""
        if self._compiled is not None:
            self._compiled.remove()
        decoder = None if self._decoder is None else self._decoder()
        if decoder is not None:
            restore_memory_format(decoder)


def _must_stand_aside(transformer: nn.Module, latents: torch.Tensor) -> bool:
    """Where kept results would lack gradients, dropout, or autocast's precision."""
    device = latents.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.is_grad_enabled() or transformer.training or autocast
