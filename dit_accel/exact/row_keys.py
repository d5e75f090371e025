"""What the modulations of each row depend on, on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dit_accel.exact.forward import Key
from dit_accel.exact.host_values import HostValues


def row_keys(
    arguments: Mapping[str, Any],
    conditions: Sequence[torch.Tensor | None],
    values: HostValues,
    step: int,
) -> list[Key] | None:
    """One key a row; `None` where the arguments are not one entry a row.

    Args:
        arguments: the transformer's arguments.
        conditions: what modulations depend on besides the timestep, `[R, ...]` each.
        values: reads the tensors.
        step: of the run; stands for the timestep on the meta device, where labels count as
            distinct and sizes as equal, so that MACs are counted of no fewer rows than run.
    """
    rows, timestep = len(arguments["hidden_states"]), arguments.get("timestep")
    if not torch.is_tensor(timestep) or timestep.numel() not in (1, rows):
        return None
    if timestep.device.type == "meta":
        times: list[float] = [step]
    else:
        times = values.read(timestep)
    columns = [times * rows if len(times) == 1 else times]
    for tensor in conditions:
        if tensor is None or tensor.ndim == 0 or len(tensor) != rows:
            return None
        columns += _columns(tensor, values)
    return list(zip(*columns, strict=True))


def _columns(tensor: torch.Tensor, values: HostValues) -> list[list[float]]:
    rows, width = len(tensor), tensor[0].numel()
    if tensor.device.type == "meta":
        whole = not tensor.is_floating_point()
        return [[row if whole else 0.0 for row in range(rows)] for _ in range(width)]
    flat = values.read(tensor)
    return [flat[column::width] for column in range(width)]
