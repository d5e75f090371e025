"""The model card of an adapter, written from nothing but its record.

It is a beginning: curves and pictures are for people to add. So it ends in a digest of itself, by
which a card that somebody has edited is told from one that can be written anew.
"""

from __future__ import annotations

import hashlib
import pprint
from typing import TYPE_CHECKING, Any

import yaml

from dit_accel.reference_models import available

if TYPE_CHECKING:
    from dit_accel.adapters.adapter import Adapter

_CARD = """---
library_name: dit_accel
tags: [dit_accel, diffusers, distillation]
{base_line}---
# {title}

Trained weights for a [dit_accel](https://pypi.org/project/dit-accel/) plan: {trains},
{parameters:,} numbers in {megabytes:.1f} MB.

```python
import dit_accel
from diffusers import DiffusionPipeline
{load}
plan = {plan}
dit_accel.accelerate(pipe, {{**plan, "adapter": "{source}"}})
dit_accel.restore(pipe)  # the base weights, bit for bit
```

It belongs to **{base}** (config `{model}`), and is refused by any other model. A downloaded folder
is a plan by itself: `dit_accel.accelerate(pipe, "its/path")`.

## What was measured

{score}

## Recipe

{steps} steps.

```yaml
{recipe}```

Versions: {versions}
"""


_FROM = "pipe = DiffusionPipeline.from_pretrained({})"
_MARK = "\n<!-- as dit_accel wrote it: "


def model_card(adapter: Adapter, num_bytes: int, source: str) -> str:
    """Markdown with the Hub's front matter.

    Args:
        adapter: that is described.
        num_bytes: size of its file.
        source: where its readers find it, as a plan names it.
    """
    record = adapter.record
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    rows = [f"| {name} | {_number(value)} |" for name, value in sorted(record.score.items())]
    on_hub = record.base.count("/") == 1 and not record.base.startswith((".", "/", "~"))
    text = _CARD.format(
        base_line=f"base_model: {record.base}\n" if on_hub else "",
        title=f"{record.base.rstrip('/').rpartition('/')[2]}, adapted",
        trains=record.trains,
        parameters=adapter.num_parameters,
        megabytes=num_bytes / 1e6,
        base=record.base,
        model=record.model,
        load=_load(record.base),
        plan=pprint.pformat(record.plan, width=90, sort_dicts=False).replace("\n", "\n" + 7 * " "),
        source=source,
        score="\n".join(["| | |", "|---|---|", *rows]) if rows else "Nothing.",
        steps=record.steps,
        recipe=_yaml(record.recipe),
        versions=versions,
    )
    return f"{text}{_MARK}{_digest(text)} -->\n"


def is_as_written(card: str) -> bool:
    """Whether nobody has edited a card since `model_card` wrote it."""
    text, mark, rest = card.rpartition(_MARK)
    return bool(mark) and rest == f"{_digest(text)} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load(base: str) -> str:
    """How the model is loaded; one that ships lies in the package."""
    if base in available():
        found = f'reference_models.find("{base}")'
        return f"from dit_accel import reference_models\n\n{_FROM.format(found)}"
    return "\n" + _FROM.format(f'"{base}"')


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=96)
