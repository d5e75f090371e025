"""AdamW for everything, or Muon for the weights of linear layers and AdamW for the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import LoopConfig


def build_optimizers(model: nn.Module, config: LoopConfig) -> list[torch.optim.Optimizer]:
    """The optimisers that together own every parameter of ``model`` that trains exactly once."""
    matrices = _linear_weights(model) if config.muon_ratio else []
    owned = {id(matrix) for matrix in matrices}
    others = [
        parameter
        for parameter in model.parameters()
        if id(parameter) not in owned and parameter.requires_grad
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, betas=config.betas, weight_decay=config.weight_decay)
    ]
    if matrices:
        # This adjustment gives Muon's updates the size of AdamW's, so that one learning rate
        # (times muon_ratio) serves both.
        optimizers.append(
            torch.optim.Muon(
                matrices,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def set_learning_rate(
    optimizers: list[torch.optim.Optimizer], rate: float, config: LoopConfig
) -> None:
    """Set AdamW's rate (the first optimiser) and Muon's multiple of it (the second, if any)."""
    for optimizer, ratio in zip(optimizers, (1.0, config.muon_ratio), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate * (ratio or 1.0)


def _linear_weights(model: nn.Module) -> list[Tensor]:
    linear = (module.weight for module in model.modules() if isinstance(module, nn.Linear))
    return [weight for weight in linear if weight.requires_grad]
