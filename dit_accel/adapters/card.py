"""The model card of an adapter, written from nothing but its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

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

dit_accel.accelerate(pipe, "path/to/this/folder")  # the folder is the plan below
dit_accel.accelerate(pipe, {{**plan, "adapter": "OWNER/NAME"}})  # or straight from the Hub
dit_accel.restore(pipe)  # the base weights, bit for bit
```

It belongs to **{base}** (config `{model}`), and is refused by any other model.

## Plan

```yaml
{plan}```

## What was measured

{score}

## Recipe

{steps} steps.

```yaml
{recipe}```

Versions: {versions}
"""


def model_card(adapter: Adapter, num_bytes: int) -> str:
    """Markdown with the Hub's front matter.

    Args:
        adapter: that is described.
        num_bytes: size of its file.
    """
    record = adapter.record
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    rows = [f"| {name} | {_number(value)} |" for name, value in sorted(record.score.items())]
    on_hub = record.base.count("/") == 1 and not record.base.startswith((".", "/", "~"))
    return _CARD.format(
        base_line=f"base_model: {record.base}\n" if on_hub else "",
        title=f"{record.base.rstrip('/').rpartition('/')[2]}, adapted",
        trains=record.trains,
        parameters=adapter.num_parameters,
        megabytes=num_bytes / 1e6,
        base=record.base,
        model=record.model,
        plan=_yaml(record.plan),
        score="\n".join(["| | |", "|---|---|", *rows]) if rows else "Nothing.",
        steps=record.steps,
        recipe=_yaml(record.recipe),
        versions=versions,
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=96)
