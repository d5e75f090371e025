"""The card of a class-conditional pipeline: its numbers are read from the records of the run."""

from __future__ import annotations

from pathlib import Path

from .card_parts import (
    GRID_NAME,
    Training,
    architecture_lines,
    megabytes,
    photo_rows,
    run_rows,
    table_rows,
)
from .checkpoint import read_json
from .config import ClassRecipe
from .photos import PHOTOS

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
- `DDIMScheduler`: 1000 steps, linear betas 1e-4 to 0.02

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


def write_model_card(config: ClassRecipe, folder: Path) -> None:
    """Write ``README.md`` into a published folder."""
    stage = config.publish
    card = _TEMPLATE.format(
        name=stage.folder.name,
        recipe=f"{stage.folder.name.replace('-', '_')}.yaml",
        classes=len(PHOTOS),
        size=config.data.crop_size,
        guidance=", ".join(f"{scale:g}" for scale in stage.guidance_scales),
        grid=GRID_NAME,
        quality=table_rows(quality_rows(config)),
        per_class=stage.samples_per_class,
        sampler_steps=stage.sampling_steps,
        training=table_rows(training_rows(config)),
        architecture=architecture_lines(config.transformer, folder),
        dtype=stage.dtype,
        megabytes=megabytes(folder),
        scale_low=config.data.scale[0],
        scale_high=config.data.scale[1],
        held_out=config.data.held_out_per_class,
        photos=photo_rows(),
    )
    (folder / "README.md").write_text(card)


def quality_rows(config: ClassRecipe) -> dict[str, str]:
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


def training_rows(config: ClassRecipe) -> dict[str, str]:
    """What the run did, from its logs and its machine."""
    autoencoder = Training.read(config.output / "autoencoder", config.autoencoder.loop)
    transformer = Training.read(config.output / "transformer", config.transformer.loop)
    images = transformer.step * config.transformer.batch_size
    return {
        "autoencoder": f"{autoencoder}, {config.autoencoder.batch_size} windows each",
        "transformer": f"{transformer}, {config.transformer.batch_size} latents each",
        "images seen by the transformer": f"{images} (from {config.latents.crops} encoded crops)",
        **run_rows(config),
    }
