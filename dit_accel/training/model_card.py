"""The model card: every number in it is read back from the records of the run."""

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
from .config import LoopConfig, TrainConfig
from .loop import learning_rate
from .photos import PHOTOS
from .precision import choose_precision

GRID_NAME = "samples.png"
_PACKAGES = ("torch", "diffusers", "accelerate", "scikit-image", "scikit-learn")
_LOSS_WINDOW = 20  # logged steps that the reported losses are averaged over

_TEMPLATE = """\
---
license: cc-by-2.0
library_name: diffusers
pipeline_tag: unconditional-image-generation
---

# {name}

A small class-conditional diffusion transformer that draws crops of {classes} photographs at
{size} x {size}: a real, trained DiT that is quick enough for tests and benchmarks on a CPU.
It is a stock `diffusers.DiTPipeline`; nothing else is needed to load it:

```python
from diffusers import DiTPipeline

pipe = DiTPipeline.from_pretrained("path/to/{name}")
image = pipe(pipe.get_label_ids(["astronaut"]), guidance_scale=2.5).images[0]
```

![One sample per class; rows: guidance {guidance}]({grid})

*One sample per class, all from the same seed, not selected. Rows: guidance {guidance}.*

## Quality

| measure | value |
| --- | --- |
{quality}

The accuracy is the share of samples ({per_class} per class, {sampler_steps} DDIM steps) to which
the classifier in `classifier/` gives the class they were drawn for. It says that a sample is
recognisable, not that it is new: with one photograph per class, the model is meant to reproduce
its photographs.

## Training

| | |
| --- | --- |
{training}

Reproduce with `python scripts/train_reference.py configs/train/{recipe}`.

## Architecture

{architecture}

Weights are stored as {dtype}: {megabytes:.1f} MB in all. The transformer predicts velocity
(`prediction_type: v_prediction`), has no learned variance, and uses label 1000 as its null class.
The timestep spacing is `trailing`, for any sampler built by `from_config`.

## Data and licences

Random square crops (side {scale_low:g} to {scale_high:g} of the short side) and mirror images of
photographs that ship inside the scikit-image and scikit-learn wheels. {held_out} further crops
per class, from a random stream of their own, are used only for scoring; they show the same
photographs.

| id | class | source | licence |
| --- | --- | --- | --- |
{photos}
"""


def write_model_card(config: TrainConfig, folder: Path) -> None:
    """Write ``README.md`` into a published folder."""
    stage = config.publish
    card = _TEMPLATE.format(
        name=stage.folder.name,
        recipe=f"{stage.folder.name.replace('-', '_')}.yaml",
        classes=len(PHOTOS),
        size=config.data.crop_size,
        guidance=", ".join(f"{scale:g}" for scale in stage.guidance_scales),
        grid=GRID_NAME,
        quality=_table(quality_rows(config)),
        per_class=stage.samples_per_class,
        sampler_steps=stage.sampling_steps,
        training=_table(training_rows(config)),
        architecture=_architecture(config, folder),
        dtype=stage.dtype,
        megabytes=sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6,
        scale_low=config.data.scale[0],
        scale_high=config.data.scale[1],
        held_out=config.data.held_out_per_class,
        photos=_photo_table(),
    )
    (folder / "README.md").write_text(card)


def quality_rows(config: TrainConfig) -> dict[str, str]:
    """Measured quality, from the ``result.json`` of each stage."""
    autoencoder = read_json(config.output / "autoencoder" / "result.json")
    judge = read_json(config.output / "classifier" / "result.json")
    samples = read_json(config.output / "publish" / "result.json")["accuracy_by_guidance"]
    rows = {
        "autoencoder PSNR, held-out crops": f"{autoencoder['psnr_db']:.1f} dB",
        "classifier accuracy, held-out crops": f"{judge['held_out_accuracy']:.1%}",
    }
    for scale, share in samples.items():
        rows[f"classifier accuracy, samples at guidance {scale}"] = f"{share:.1%}"
    return rows


def training_rows(config: TrainConfig) -> dict[str, str]:
    """What the run did, from its logs and its machine."""
    autoencoder = Training.read(config.output / "autoencoder", config.autoencoder.loop)
    transformer = Training.read(config.output / "transformer", config.transformer.loop)
    images = transformer.step * config.transformer.batch_size
    precision = choose_precision(config)
    return {
        "autoencoder": f"{autoencoder}, {config.autoencoder.batch_size} windows each",
        "transformer": f"{transformer}, {config.transformer.batch_size} latents each",
        "images seen by the transformer": f"{images} (from {config.latents.crops} encoded crops)",
        "precision": "float32" if precision == "no" else f"{precision} autocast, float32 weights",
        "seed": str(config.seed),
        "hardware": f"{_processor()}, {os.cpu_count()} cores",
        "versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
        "commit": _commit(),
    }


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
        tail = [record["loss"] for record in records[-_LOSS_WINDOW:]]
        deviating = [
            record["step"]
            for record in records
            if not math.isclose(record["lr"], learning_rate(record["step"] - 1, loop))
        ]
        last = records[-1]
        loss = sum(tail) / len(tail)
        return cls(last["step"], last["seconds"], loss, max(deviating, default=0))

    def __str__(self) -> str:
        text = f"{self.step} steps in {self.seconds / 60:.0f} min, final loss {self.loss:.4f}"
        if self.deviating_step:
            text += f" (up to step {self.deviating_step} by an earlier schedule of the recipe)"
        return text


def _table(rows: dict[str, str]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _photo_table() -> str:
    return "\n".join(
        f"| {index} | `{photo.label}` | `{photo.package}/{photo.path}` | {photo.licence} |"
        for index, photo in enumerate(PHOTOS)
    )


def _architecture(config: TrainConfig, folder: Path) -> str:
    transformer, autoencoder = config.transformer, config.autoencoder
    width = transformer.num_attention_heads * transformer.attention_head_dim
    ratio = 2 ** (len(autoencoder.block_out_channels) - 1)
    return (
        f"- `DiTTransformer2DModel`: {_millions(folder / 'transformer')} parameters, "
        f"{transformer.num_layers} blocks of width {width} ({transformer.num_attention_heads} "
        f"heads of {transformer.attention_head_dim}), patch {transformer.patch_size}\n"
        f"- `AutoencoderKL`: {_millions(folder / 'vae')} parameters, {ratio}x smaller in each "
        f"direction, {autoencoder.latent_channels} channels\n"
        "- `DDIMScheduler`: 1000 steps, linear betas 1e-4 to 0.02"
    )


def _millions(folder: Path) -> str:
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    return f"{sum(tensor.numel() for tensor in tensors.values()) / 1e6:.2f} M"


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
