"""Which optimiser owns which parameter, and at what rate."""

from __future__ import annotations

import torch
from torch import nn

from dit_accel.training.dit_transformer import build_transformer
from dit_accel.training.optimizers import build_optimizers, set_learning_rate


def owned(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_every_parameter_has_exactly_one_owner(config):
    model = build_transformer(config.transformer, channels=4, sample_size=8)
    optimizers = build_optimizers(model, config.transformer.loop)
    owners = [id(parameter) for optimizer in optimizers for parameter in owned(optimizer)]
    assert len(owners) == len(set(owners))
    assert set(owners) == {id(parameter) for parameter in model.parameters()}


def test_muon_owns_the_weights_of_linear_layers_only(config):
    model = build_transformer(config.transformer, channels=4, sample_size=8)
    adamw, muon = build_optimizers(model, config.transformer.loop)
    assert isinstance(muon, torch.optim.Muon)
    assert all(parameter.ndim == 2 for parameter in owned(muon))
    table = model.transformer_blocks[0].norm1.emb.class_embedder.embedding_table.weight
    assert any(parameter is table for parameter in owned(adamw))


def test_without_a_ratio_adamw_owns_everything(config):
    loop = config.transformer.loop.model_copy(update={"muon_ratio": None})
    model = nn.Linear(3, 3)
    (adamw,) = build_optimizers(model, loop)
    assert len(owned(adamw)) == 2


def test_muon_runs_at_a_multiple_of_the_rate(config):
    optimizers = build_optimizers(nn.Linear(3, 3), config.transformer.loop)
    set_learning_rate(optimizers, 0.5, config.transformer.loop)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [0.5, 1.5]
