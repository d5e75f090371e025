"""Weights that accelerate moves about: its hooks before ours or after."""

from __future__ import annotations

from typing import Any

import accelerate as hf_accelerate
import pytest
import torch
from tiny_models import NUM_LAYERS, TinyFamily

import dit_accel

CPU = torch.device("cpu")


@pytest.mark.parametrize("order", ["before", "after"])
def test_cpu_offload_changes_no_result(
    layout: TinyFamily, telling_plan: dict[str, Any], order: str
) -> None:
    expected = layout.generate(dit_accel.accelerate(layout.pipeline(), telling_plan))
    pipe = layout.pipeline()
    if order == "before":
        hf_accelerate.cpu_offload(pipe.transformer, execution_device=CPU)
    dit_accel.accelerate(pipe, telling_plan)
    if order == "after":
        hf_accelerate.cpu_offload(pipe.transformer, execution_device=CPU)
    assert all(parameter.device.type == "meta" for parameter in pipe.transformer.parameters())
    for _ in range(2):
        assert torch.equal(layout.generate(pipe), expected)


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_dispatched_model_changes_no_result(
    layout: TinyFamily, telling_plan: dict[str, Any], order: str
) -> None:
    expected = layout.generate(dit_accel.accelerate(layout.pipeline(), telling_plan))
    pipe = layout.pipeline()
    children = [name for name, _ in pipe.transformer.named_children()]
    children += [name for name, _ in pipe.transformer.named_parameters(recurse=False)]
    device_map = dict.fromkeys(children, "cpu")
    del device_map["transformer_blocks"]
    device_map |= {f"transformer_blocks.{layer}": "cpu" for layer in range(NUM_LAYERS)}

    def dispatch() -> None:
        hf_accelerate.dispatch_model(pipe.transformer, device_map, "cpu", force_hooks=True)

    if order == "before":
        dispatch()
    dit_accel.accelerate(pipe, telling_plan)
    if order == "after":
        dispatch()
    assert torch.equal(layout.generate(pipe), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_offload_of_the_pipeline_changes_no_result(
    layout: TinyFamily, telling_plan: dict[str, Any], order: str, kind: str
) -> None:
    resident = dit_accel.accelerate(layout.pipeline().to("cuda"), telling_plan)
    expected = layout.generate(resident)
    pipe = layout.pipeline()
    if order == "after":
        dit_accel.accelerate(pipe, telling_plan)
    getattr(pipe, f"enable_{kind}_cpu_offload")()
    if order == "before":
        dit_accel.accelerate(pipe, telling_plan)
    torch.testing.assert_close(layout.generate(pipe), expected, rtol=1e-4, atol=1e-4)
    dit_accel.restore(pipe)
    stock = layout.generate(layout.pipeline().to("cuda"))
    torch.testing.assert_close(layout.generate(pipe), stock, rtol=1e-4, atol=1e-4)


def test_a_moved_pipeline_keeps_its_plan(layout: TinyFamily) -> None:
    pipe = dit_accel.accelerate(layout.pipeline(), {"density": {"kind": "pooled", "pool": 2}})
    expected = layout.generate(pipe)
    assert torch.equal(layout.generate(pipe.to("cpu")), expected)
