"""Peak memory of a call."""

import sys

import pytest
import torch

from dit_accel.measure.memory import CUDA_PEAK, RSS_INCREASE, peak_memory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's high-water mark is Linux's")
def test_a_peak_inside_the_call_is_seen() -> None:
    def call() -> None:
        torch.ones(64 * MIB // 4)  # gone again before the call returns

    peak = peak_memory(call, torch.device("cpu"))
    assert peak.kind == RSS_INCREASE
    assert peak.bytes is not None
    assert 60 * MIB <= peak.bytes <= 100 * MIB


@pytest.mark.gpu
def test_allocator_peak_on_cuda() -> None:
    device = torch.device("cuda")
    peak = peak_memory(lambda: torch.ones(64 * MIB // 4, device=device), device)
    assert peak.kind == CUDA_PEAK
    assert peak.bytes is not None and peak.bytes >= 64 * MIB
