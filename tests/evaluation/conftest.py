"""A tiny evaluation: three runs of a tiny pipeline, judged against a tiny reference."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from saved_pipelines import save_tiny_dit

from dit_accel.extractors import load_extractor
from dit_accel.scoring.opening import open_image_set
from dit_accel.scoring.reference import make_reference


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    noise = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    (folder / "pictures").mkdir()
    for index, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / "pictures" / f"{index}.png")
    path = folder / "reference.npz"
    make_reference(open_image_set(folder / "pictures"), load_extractor("ref"), path)
    return path


@pytest.fixture
def document(tiny_pipeline: Path, reference: Path, tmp_path: Path) -> Path:
    """The YAML file of an evaluation that takes seconds."""
    path = tmp_path / "evaluation.yaml"
    content = {
        "title": "Tiny",
        "model": str(tiny_pipeline),
        "guidance_scale": 2.0,
        "num_samples": 6,
        "batch_size": 3,
        "data": {"labels": "balanced"},
        "output": str(tmp_path / "out"),
        "baseline": "dense",
        "reference": str(reference),
        "metrics": ["fd_ref", "psnr"],
        "rounds": 1,
        "latency_images": 2,
        "runs": {
            "dense": {"scheduler": "DDIM", "num_inference_steps": 4},
            "cached": {"scheduler": "DDIM", "num_inference_steps": 4, "plan": "balanced"},
        },
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
