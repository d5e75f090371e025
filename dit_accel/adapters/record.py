"""What an adapter says of itself, as texts in the header of its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from dit_accel.configuration.strict_model import StrictModel

FORMAT, VERSION = "dit_accel.adapter", 1


class AdapterRecord(StrictModel):
    """The header of an adapter.

    Args:
        plan: that it was trained for, as a plan file holds it, without the adapter.
        base: name of the model that it was trained on.
        model: hash of the transformer's class and config.
        weights: a few of its weights.
        trains: what was trained (`new`, `new+norm`, `lora`, `all`).
        steps: of training.
        timesteps: of the run that its schedule goes over, one a step; empty if nobody knows.
        recipe: the config of the training.
        versions: of the libraries that did it.
        score: what was measured, by name.
    """

    plan: Any
    base: str
    model: str
    weights: tuple[float, ...]
    trains: str
    steps: int = Field(ge=0)
    timesteps: tuple[float, ...] = ()
    recipe: Any = Field(default_factory=dict)
    versions: Any = Field(default_factory=dict)
    score: Any = Field(default_factory=dict)

    def header(self) -> dict[str, str]:
        """What safetensors keeps beside the tensors.

        One text, since it writes several in any order: the same training leaves the same bytes.
        """
        document = {"version": VERSION, **self.model_dump(mode="json")}
        return {FORMAT: json.dumps(document, sort_keys=True)}

    @classmethod
    def of_header(cls, header: Mapping[str, str]) -> AdapterRecord:
        """Read `header`.

        Raises:
            ValueError: it is that of another kind of file, or of a later version.
        """
        if FORMAT not in header:
            raise ValueError(f"no {FORMAT} in its header; give a file that dit-accel train wrote")
        document = json.loads(header[FORMAT])
        version = document.pop("version", None)
        if version != VERSION:
            raise ValueError(f"version {version}, and this dit_accel reads {VERSION}; update it")
        return cls(**document)
