"""What the cards of all reference pipelines tell, read back from runs and published folders."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import load_file

from .checkpoint import RunLog, read_json
from .config import LoopConfig, Recipe, TransformerConfig
from .loop import learning_rate
from .photos import PHOTOS
from .precision import choose_precision

GRID_NAME = "samples.png"
_LOSS_WINDOW = 20  # logged steps that the reported losses are averaged over; fewer of a short run
_PACKAGES = ("torch", "diffusers", "accelerate", "scikit-image", "scikit-learn")


@dataclass(frozen=True)
class Training:
    """What the log of one stage says."""

    step: int
    seconds: float
    loss: float
    deviating_step: int
    """The last logged step whose learning rate is not the recipe's; 0 if there is none."""

    @classmethod
    def read(cls, folder: Path, loop: LoopConfig) -> Training:
        """Summarise ``log.jsonl``; the loss is a mean over its last records."""
        records = [record for record in RunLog(folder / "log.jsonl").read() if "loss" in record]
        window = min(_LOSS_WINDOW, 1 + len(records) // 5)
        tail = [record["loss"] for record in records[-window:]]
        deviating = [
            record["step"]
            for record in records
            if not math.isclose(record["lr"], learning_rate(record["step"] - 1, loop))
        ]
        last = records[-1]
        loss = sum(tail) / len(tail)
        return cls(last["step"], last["seconds"], loss, max(deviating, default=0))

    def __str__(self) -> str:
        minutes = self.seconds / 60
        time = f"{minutes:.0f} min" if minutes > 2 else f"{self.seconds:.0f} s"
        text = f"{self.step} steps in {time}, final loss {self.loss:.4f}"
        if self.deviating_step:
            text += f" (up to step {self.deviating_step} by an earlier schedule of the recipe)"
        return text


def run_rows(config: Recipe, *packages: str) -> dict[str, str]:
    """How the run was made: precision, seed, machine, versions (also of ``packages``), commit."""
    precision = choose_precision(config)
    versions = (f"{package} {version(package)}" for package in (*_PACKAGES, *packages))
    return {
        "precision": "float32" if precision == "no" else f"{precision} autocast, float32 weights",
        "seed": str(config.seed),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
        "versions": ", ".join(versions),
        "commit": _commit(),
    }


def table_rows(rows: dict[str, str]) -> str:
    """The body of a Markdown table of two columns."""
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def photo_rows() -> str:
    """The body of a Markdown table: number, label, source and licence of every photograph."""
    return "\n".join(
        f"| {index} | `{photo.label}` | `{photo.package}/{photo.path}` | {photo.licence} |"
        for index, photo in enumerate(PHOTOS)
    )


def architecture_lines(config: TransformerConfig, folder: Path) -> str:
    """What transformer and autoencoder of a published folder are, as a Markdown list."""
    vae = read_json(folder / "vae" / "config.json")
    ratio = 2 ** (len(vae["block_out_channels"]) - 1)
    return (
        f"- {model_line(folder / 'transformer')}, {config.num_layers} blocks of width "
        f"{config.num_attention_heads * config.attention_head_dim} ({config.num_attention_heads} "
        f"heads of {config.attention_head_dim}), patch {config.patch_size}\n"
        f"- {model_line(folder / 'vae')}, {ratio}x smaller in each direction, "
        f"{vae['latent_channels']} channels"
    )


def model_line(folder: Path) -> str:
    """Class and number of parameters of a model, as diffusers or transformers stored it."""
    stored = read_json(folder / "config.json")
    name = stored["_class_name"] if "_class_name" in stored else stored["architectures"][0]
    files = [load_file(path) for path in folder.glob("*.safetensors")]
    parameters = sum(tensor.numel() for tensors in files for tensor in tensors.values())
    return f"`{name}`: {parameters / 1e6:.2f} M parameters"


def megabytes(folder: Path) -> float:
    """Size of all weights in a folder, 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6


def _processor() -> str:
    """The processor's model name where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """The commit the card was written at, marked if the tree differed from it."""
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "none"
