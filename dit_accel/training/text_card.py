"""The card of a text-conditional pipeline: its numbers are read from the records of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dit_accel.reporting.bench_markdown import markdown_table
from dit_accel.scoring.prompt_accuracy import ATTRIBUTES, Accuracy

from .captions import (
    CENTRE_MARGIN,
    CLOSE_SIDE,
    FAR_SIDE,
    MIRRORINGS,
    OBJECTS,
    PHOTOGRAPHS,
    SYNONYMS,
    VIEWS,
    WHOLE_SIDE,
    WHOLES,
    Nearness,
    Part,
    vocabulary,
)
from .card_parts import (
    GRID_NAME,
    Training,
    architecture_lines,
    megabytes,
    model_line,
    photo_rows,
    run_rows,
    table_rows,
)
from .checkpoint import RunLog, read_json
from .config import TextRecipe
from .text_samples import GRID_PROMPTS, grid_prompts

_TEMPLATE = """\
---
license: cc-by-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# {name}

A small text-conditional diffusion transformer that draws crops of {photographs} photographs at
{size} x {size}: a real, trained PixArt-sigma that is quick enough for tests and benchmarks on a
CPU. It is a stock `diffusers.PixArtSigmaPipeline`; nothing else is needed to load it:

```python
from diffusers import PixArtSigmaPipeline

pipe = PixArtSigmaPipeline.from_pretrained("path/to/{name}")
image = pipe(
    "a close view of the upper left of the astronaut photograph",
    guidance_scale={best:g},
    use_resolution_binning=False,  # stock's sizes are those of another autoencoder
    max_sequence_length={tokens},  # as in training; the stock default pads to 300
).images[0]
```

![Samples at guidance {best:g}, one prompt each]({grid})

*Samples at guidance {best:g}, {sampler_steps} steps, all from the same seed, not selected. The
prompts, row by row:*

{grid_table}

## What it understands

A prompt names one photograph, and may say which part of it, how near, and that it is mirrored, in
any of these wordings: [nearness] [part] photograph [mirrored]. Anything left out is left open.

| | words |
| --- | --- |
{language}

The tokenizer knows {words} words and marks; every other is `<unk>`, which it never met in training:
`{vocabulary}`

Which part: the crop's centre lies more than {margin:g} of the photograph's width or height off its
middle; it is meant before mirroring. How near: the side of the crop is below {close:g} of the
photograph's short side (close), or from {far:g} on (far). The whole is a central crop from
{whole:g} on.

## Prompt accuracy

{accuracy}

Share of the samples ({count} prompts, {per_photograph} for each photograph, its parts in turn;
{sampler_steps} steps) that show what their prompt asks for, as the heads of the `ref` features see
it, with 95 % intervals. The prompts say what {count} real crops show that nothing was trained on.
The last column is what the same judge answers to those crops, many of which lie near a border of
part or nearness: samples that follow as real crops do get about as much, and samples further from
the borders may get more. Each line is judged for itself; guessing would get {photo_guess:.0%} of
the photographs right, {part_guess:.0%} of the parts, and half of the mirrorings.

## Training

| | |
| --- | --- |
{training}

The text encoder was trained first, on captions alone, to tell from every token what the caption
says, and then fixed. The autoencoder is that of `{start}`. The transformer started from the
weights of `{start}` for its null class, with the modulations re-parameterised as in PixArt-alpha
(section 2.3) and the cross-attention at zero.

Reproduce with `python scripts/train_reference.py configs/train/{recipe}`.

## Architecture

{architecture}

Transformer and autoencoder are stored as {dtype}, the text encoder as float32, since transformers
loads it as it is stored: {megabytes:.1f} MB in all. The transformer predicts velocity
(`prediction_type: v_prediction`), has no learned variance, and knows no micro-conditions. The
timestep spacing is `trailing`, for any sampler built by `from_config`. The empty prompt is what it
was trained on without a condition ({dropout:.0%} of all samples).

## Data and licences

Random square crops (side {scale_low:g} to {scale_high:g} of the short side) and mirror images of
photographs that ship inside the scikit-image and scikit-learn wheels.

| id | photograph | source | licence |
| --- | --- | --- | --- |
{photos}
"""


def write_text_card(config: TextRecipe, folder: Path) -> None:
    """Write ``README.md`` into a published folder."""
    stage, result = config.publish, read_json(config.output / "publish" / "result.json")
    card = _TEMPLATE.format(
        name=stage.folder.name,
        recipe=f"{stage.folder.name.replace('-', '_')}.yaml",
        start=Path(config.start_from).name,
        photographs=len(PHOTOGRAPHS),
        size=config.data.crop_size,
        tokens=config.text_encoder.max_tokens,
        best=result["best_guidance"],
        grid=GRID_NAME,
        grid_table=_grid_table(),
        sampler_steps=stage.sampling_steps,
        language=table_rows(language_rows()),
        words=len(vocabulary()),
        vocabulary=" ".join(vocabulary()),
        margin=CENTRE_MARGIN,
        close=CLOSE_SIDE,
        far=FAR_SIDE,
        whole=WHOLE_SIDE,
        accuracy=accuracy_table(result),
        count=len(PHOTOGRAPHS) * stage.samples_per_class,
        per_photograph=stage.samples_per_class,
        photo_guess=1 / len(PHOTOGRAPHS),
        part_guess=1 / len(Part),
        training=table_rows(training_rows(config)),
        architecture=_architecture(config, folder),
        dtype=stage.dtype,
        megabytes=megabytes(folder),
        dropout=config.transformer.condition_dropout,
        scale_low=config.data.scale[0],
        scale_high=config.data.scale[1],
        photos=photo_rows(),
    )
    (folder / "README.md").write_text(card)


def accuracy_table(result: dict[str, Any]) -> str:
    """Attributes by guidance scales, and real crops, from ``result.json`` of the stage."""
    columns = {f"guidance {s}": found for s, found in result["accuracy_by_guidance"].items()}
    columns["real crops"] = result["accuracy_of_real_crops"]
    rows = [
        [name, *(_share(Accuracy(**found[name])) for found in columns.values())]
        for name in ATTRIBUTES
    ]
    return markdown_table(["what is asked for", *columns], rows)


def language_rows() -> dict[str, str]:
    """What a prompt can say, and the wordings of it."""
    views = {f"{near.value} view": _quoted(VIEWS[near]) for near in Nearness}
    parts = ", ".join(part.value for part in Part if part is not Part.WHOLE)
    same = ", ".join(f"{one} = {other}" for one, other in SYNONYMS.values() if one != other)
    return {
        **views,
        "nearness left open": _quoted(VIEWS[None]),
        "part": f"`the … of`, `the … part of`: {parts} ({same})",
        "whole": _quoted(WHOLES),
        "photograph": _quoted(text.format("…") for text in OBJECTS) + ": " + ", ".join(PHOTOGRAPHS),
        "mirrored": _quoted(MIRRORINGS),
    }


def training_rows(config: TextRecipe) -> dict[str, str]:
    """What the run did, from its logs and its machine."""
    texts = Training.read(config.output / "text_encoder", config.text_encoder.loop)
    transformer = Training.read(config.output / "transformer", config.transformer.loop)
    images = transformer.step * config.transformer.batch_size
    return {
        "text encoder": f"{texts}, {config.text_encoder.batch_size} captions each",
        "fresh captions it understands whole": f"{_understood(config):.1%}",
        "transformer": f"{transformer}, {config.transformer.batch_size} latents each",
        "images seen by the transformer": f"{images} (from {config.latents.crops} encoded crops)",
        **run_rows(config, "transformers", "tokenizers"),
    }


def _understood(config: TextRecipe) -> float:
    records = RunLog(config.output / "text_encoder" / "log.jsonl").read()
    return float([r["captions_understood"] for r in records if "captions_understood" in r][-1])


def _architecture(config: TextRecipe, folder: Path) -> str:
    encoder = config.text_encoder
    return (
        f"{architecture_lines(config.transformer, folder)}\n"
        f"- {model_line(folder / 'text_encoder')}, {encoder.num_layers} blocks of width "
        f"{encoder.d_model}; one token a word, at most {encoder.max_tokens}\n"
        "- `DPMSolverMultistepScheduler`: 1000 steps, linear betas 1e-4 to 0.02"
    )


def _grid_table() -> str:
    prompts, columns = grid_prompts(), len(GRID_PROMPTS)
    rows = [prompts[first : first + columns] for first in range(0, len(prompts), columns)]
    return "\n".join(f"{number}. {'; '.join(row)}" for number, row in enumerate(rows, 1))


def _share(accuracy: Accuracy) -> str:
    low, high = accuracy.interval.low, accuracy.interval.high
    return f"{accuracy.share:.1%} ({low:.0%} to {high:.0%})"


def _quoted(texts: Any) -> str:
    return ", ".join(f"`{text.strip()}`" for text in texts if text.strip())
