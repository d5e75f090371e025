"""An adapter as a folder: `adapter.safetensors`, the plan that uses it, and a model card."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.card import is_as_written, model_card
from dit_accel.adapters.record import AdapterRecord
from dit_accel.adapters.source import ADAPTER_FILE, find_adapter
from dit_accel.errors import PlanError, Problem
from dit_accel.plan_folder import PLAN_FILE

CARD_FILE = "README.md"


def save_adapter(adapter: Adapter, folder: str | Path, source: str = "OWNER/NAME") -> Path:
    """Write an adapter into a folder, which is then also a plan: `accelerate(pipe, folder)`.

    Args:
        adapter: as `load_adapter` returns it, or `dit-accel train` makes it.
        folder: made where it is missing. A model card in it that somebody has edited stays.
        source: the Hub id that the card names it by.

    Returns:
        The path of its file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ADAPTER_FILE
    tensors = {name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=adapter.record.header())
    os.replace(partial, path)
    plan = {**adapter.record.plan, "adapter": ADAPTER_FILE}
    text = yaml.safe_dump(plan, sort_keys=False, default_flow_style=None, width=100)
    (folder / PLAN_FILE).write_text(text, encoding="utf-8")
    card = folder / CARD_FILE
    if not card.exists() or is_as_written(card.read_text(encoding="utf-8")):
        card.write_text(model_card(adapter, path.stat().st_size, source), encoding="utf-8")
    return path


def load_adapter(source: str | os.PathLike[str]) -> Adapter:
    """Read an adapter; nothing in it is ever executed.

    Args:
        source: its file, its folder, `MODEL/NAME` of a shipped one, or `OWNER/NAME` on the Hub.

    Raises:
        PlanError: there is none, or the file is of another kind.
    """
    path = find_adapter(os.fspath(source))
    try:
        with safe_open(path, framework="pt") as file:
            record = AdapterRecord.of_header(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        problem = f"{path} cannot be read as an adapter: {error}"
        raise PlanError(Problem("adapter", problem), source="plan") from None
    return Adapter(record, tensors)
