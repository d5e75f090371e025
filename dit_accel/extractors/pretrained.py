"""A transformers model from one file of weights: no config file, nothing else from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from dit_accel.extractors.weights import WeightsError


def load_pretrained(model_class: Any, config: Any, weights: Path) -> Any:
    """Build `model_class` after `config` with the weights of a safetensors file.

    `from_pretrained` knows how parameters were called by earlier versions of transformers, but
    leaves those that it does not find at random values, which must not become features.

    Returns:
        The model in float32, on the CPU, in evaluation mode, without gradients.

    Raises:
        WeightsError: parameters of the model are not in the file.
    """
    model, info = model_class.from_pretrained(
        None, config=config, state_dict=load_file(weights), output_loading_info=True
    )
    if absent := sorted(info["missing_keys"]):
        raise WeightsError(
            f"{weights}: holds no {', '.join(absent[:3])} as {model_class.__name__} has them "
            f"({len(absent)} parameters in all); this version of transformers cannot read the "
            "file, use one that pyproject.toml allows"
        )
    return model.float().eval().requires_grad_(False)
