"""Last stage: score the averaged weights and write the folder that is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTPipeline
from torch import Tensor

from .checkpoint import load_if_present, write_json
from .classifier import accuracy, load_classifier, save_classifier
from .config import TrainConfig
from .images import save_grid
from .latents import LatentBank, bank_path
from .loop import step_generator
from .model_card import GRID_NAME, write_model_card
from .photos import PHOTOS
from .pipeline import assemble_pipeline, sample
from .streams import Stream


class PublishStage:
    """Writes the published folder; what stood there before is replaced only at the very end."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.stage = config.publish
        self.partial = self.stage.folder.with_name(self.stage.folder.name + ".partial")
        self.classifier = load_classifier(config.output / "classifier" / "model.safetensors")

    def run(self) -> None:
        """Store the weights, score them as a user would load them, and describe them."""
        self._save_weights(self._checkpoint())
        pipeline = DiTPipeline.from_pretrained(self.partial)
        samples = {scale: self.draw(pipeline, scale) for scale in self.stage.guidance_scales}
        scores = {str(scale): self.score(pictures) for scale, pictures in samples.items()}
        write_json({"accuracy_by_guidance": scores}, self.config.output / "publish" / "result.json")
        self._save_grid(samples)
        write_model_card(self.config, self.partial)
        shutil.rmtree(self.stage.folder, ignore_errors=True)
        self.partial.rename(self.stage.folder)

    def labels(self) -> list[int]:
        """Each class ``samples_per_class`` times."""
        return [label for label in range(len(PHOTOS)) for _ in range(self.stage.samples_per_class)]

    def draw(self, pipeline: DiTPipeline, guidance_scale: float) -> Tensor:
        """Samples of all classes from one fixed noise, ``[N, 3, S, S]`` in [-1, 1]."""
        generator = step_generator(self.config.seed, Stream.SAMPLES, 1)
        steps = self.stage.sampling_steps
        return sample(pipeline, self.labels(), guidance_scale, steps, generator)

    def score(self, pictures: Tensor) -> float:
        """Share of the samples that the classifier gives the label they were drawn for."""
        return accuracy(self.classifier, pictures, torch.tensor(self.labels()))

    def _checkpoint(self) -> dict[str, Any]:
        path = self.config.output / "transformer" / "checkpoint.pt"
        state = load_if_present(path)
        if state is None:
            raise FileNotFoundError(f"{path}: train the transformer before publishing it")
        return state

    def _save_weights(self, state: dict[str, Any]) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)
        bank = LatentBank.load(bank_path(self.config))
        pipeline = assemble_pipeline(self.config, bank, state["ema"]["shadow_params"])
        pipeline.to(dtype=getattr(torch, self.stage.dtype)).save_pretrained(self.partial)
        save_classifier(self.classifier, self.partial / "classifier" / "model.safetensors")

    def _save_grid(self, samples: dict[float, Tensor]) -> None:
        """One row per guidance scale, one column per class."""
        rows = [pictures[:: self.stage.samples_per_class] for pictures in samples.values()]
        save_grid(torch.cat(rows), Path(self.partial) / GRID_NAME, columns=len(PHOTOS))
