"""Last stage of a class-conditional recipe: score the averaged weights, write what is shipped."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DiTPipeline
from torch import Tensor

from .card_parts import GRID_NAME
from .checkpoint import left_by, write_json
from .class_conditioning import ClassConditioning, sample
from .classifier import accuracy, load_classifier, save_classifier
from .config import ClassRecipe
from .images import save_grid
from .latents import LatentBank, bank_path
from .loop import step_generator
from .model_card import write_model_card
from .photos import PHOTOS
from .published_folder import averaged_weights, replacing
from .streams import Stream


class PublishStage:
    """Writes the published folder; what stood there before is replaced only at the very end."""

    def __init__(self, config: ClassRecipe) -> None:
        self.config = config
        self.stage = config.publish
        trained = left_by("classifier", config.output / "classifier" / "model.safetensors")
        self.classifier = load_classifier(trained)

    def run(self) -> None:
        """Store the weights, score them as a user would load them, and describe them."""
        weights = averaged_weights(self.config)
        with replacing(self.stage.folder) as partial:
            self._save_weights(weights, partial)
            pipeline = DiTPipeline.from_pretrained(partial)
            samples = {scale: self.draw(pipeline, scale) for scale in self.stage.guidance_scales}
            scores = {str(scale): self.score(pictures) for scale, pictures in samples.items()}
            record = {"accuracy_by_guidance": scores}
            write_json(record, self.config.output / "publish" / "result.json")
            self._save_grid(samples, partial / GRID_NAME)
            write_model_card(self.config, partial)

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

    def _save_weights(self, weights: list[Tensor], folder: Path) -> None:
        bank = LatentBank.load(bank_path(self.config))
        pipeline = ClassConditioning(self.config, bank.labels).assemble(bank, weights)
        pipeline.to(dtype=getattr(torch, self.stage.dtype)).save_pretrained(folder)
        save_classifier(self.classifier, folder / "classifier" / "model.safetensors")

    def _save_grid(self, samples: dict[float, Tensor], path: Path) -> None:
        """One row per guidance scale, one column per class."""
        rows = [pictures[:: self.stage.samples_per_class] for pictures in samples.values()]
        save_grid(torch.cat(rows), path, columns=len(PHOTOS))
