"""Which precision trains faster here: measured once per run, written down, then kept."""

from __future__ import annotations

import time

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from .checkpoint import read_json, write_json
from .config import Recipe, TransformerConfig
from .dit_transformer import build_transformer

_WARMUP_STEPS, _TIMED_STEPS = 1, 3


def choose_precision(config: Recipe) -> str:
    """``"no"`` or ``"bf16"``; a resumed run keeps its first choice, or it would not be exact."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    record = config.output / "precision.json"
    with _process_state().main_process_first():  # the others then find its record
        if not record.exists():
            seconds = {name: step_seconds(config.transformer, name) for name in ("no", "bf16")}
            chosen = min(seconds, key=lambda name: seconds[name])
            write_json({"chosen": chosen, "seconds_per_step": seconds}, record)
    return str(read_json(record)["chosen"])


def step_seconds(config: TransformerConfig, precision: str) -> float:
    """Seconds of one uncompiled forward and backward pass of a DiT of that shape, at full batch."""
    device = _process_state().device
    model = build_transformer(config, channels=4, sample_size=32).to(device)
    for _ in range(_WARMUP_STEPS):
        _forward_backward(model, config.batch_size, precision, device)
    started = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        _forward_backward(model, config.batch_size, precision, device)
    return (time.perf_counter() - started) / _TIMED_STEPS


def _process_state() -> PartialState:
    """The processes of this run; not Accelerator(), which may be asked for one precision only."""
    # Accelerator() heeds this variable by itself. Without it, processes on a CPU stay strangers.
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def _forward_backward(
    model: torch.nn.Module, batch_size: int, precision: str, device: torch.device
) -> None:
    latents = torch.randn(batch_size, 4, 32, 32, device=device)
    timesteps = torch.zeros(batch_size, dtype=torch.long, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        output = model(latents, timesteps, timesteps, return_dict=False)[0]
    output.float().square().mean().backward()
    # Reading a value waits for an accelerator to finish, so that the clock is honest.
    output.sum().item()
