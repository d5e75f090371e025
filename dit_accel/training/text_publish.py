"""Last stage of a text-conditional recipe: see how well samples follow their prompts, and ship."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import PixArtSigmaPipeline
from torch import Tensor

from dit_accel.errors import DitAccelError
from dit_accel.extractors.ref import load_ref
from dit_accel.scoring.prompt_accuracy import Accuracy, judge

from .card_parts import GRID_NAME
from .checkpoint import write_json
from .config import TextRecipe
from .images import save_grid
from .latents import LatentBank, bank_path
from .loop import step_generator
from .published_folder import averaged_weights, replacing
from .ref_bank import to_bytes
from .streams import Stream
from .text_card import write_text_card
from .text_conditioning import TextConditioning, sample
from .text_samples import GRID_PROMPTS, grid_prompts, held_out

Accuracies = Mapping[str, Accuracy]
"""By attribute: ``photograph``, ``part``, ``nearness`` and ``mirrored``."""

_BATCH = 30  # pictures that are sampled and decoded at once


class TextPublishStage:
    """Writes the published folder, or refuses; what stood there before is replaced at the end."""

    def __init__(self, config: TextRecipe) -> None:
        self.config = config
        self.stage = config.publish
        self.records = config.output / "publish"
        self.held_out = held_out(config)
        self.extractor = load_ref()

    def run(self) -> None:
        """Store the weights, judge them as a user would load them, and describe them.

        Raises:
            DitAccelError: the samples follow their prompts less often than the recipe demands.
                What was measured, and the picture grid, are then in ``publish`` of the run.
        """
        weights = averaged_weights(self.config)
        with replacing(self.stage.folder) as partial:
            self._save_weights(weights, partial)
            pipeline = PixArtSigmaPipeline.from_pretrained(partial)
            samples = {
                scale: self.judge(self.draw(pipeline, self.held_out.prompts, scale))
                for scale in self.stage.guidance_scales
            }
            best = self.best(samples)
            self._record(samples, best)
            pictures = self.draw(pipeline, grid_prompts(), best)
            save_grid(pictures, self.records / GRID_NAME, columns=len(GRID_PROMPTS))
            self._demand(best, samples[best])
            shutil.copyfile(self.records / GRID_NAME, partial / GRID_NAME)
            write_text_card(self.config, partial)

    def draw(self, pipeline: PixArtSigmaPipeline, prompts: list[str], scale: float) -> Tensor:
        """One sample a prompt, from noise that does not depend on ``scale``; in [-1, 1]."""
        generator = step_generator(self.config.seed, Stream.SAMPLES, 1)
        steps = self.stage.sampling_steps
        chunks = [prompts[first : first + _BATCH] for first in range(0, len(prompts), _BATCH)]
        return torch.cat([sample(pipeline, chunk, scale, steps, generator) for chunk in chunks])

    def judge(self, pictures: Tensor) -> Accuracies:
        """How many of ``[N, 3, S, S]`` pictures in [-1, 1] show what the prompts ask for."""
        chunks = torch.split(to_bytes(pictures), _BATCH)
        features = torch.cat([self.extractor(chunk)["features"] for chunk in chunks])
        return judge(self.extractor.heads(features), self.held_out.descriptions)

    def best(self, samples: Mapping[float, Accuracies]) -> float:
        """The guidance scale that is good enough, if any is, and most often right."""

        def rank(scale: float) -> tuple[bool, float]:
            found = samples[scale]
            return self._good_enough(found), found["photograph"].share + found["part"].share

        return max(samples, key=rank)

    def _good_enough(self, found: Accuracies) -> bool:
        photographs, parts = found["photograph"].share, found["part"].share
        enough = photographs >= self.stage.min_photograph_accuracy
        return enough and parts >= self.stage.min_part_accuracy

    def _demand(self, best: float, found: Accuracies) -> None:
        if not self._good_enough(found):
            raise DitAccelError(
                f"publish: at guidance {best:g}, the best of {len(self.stage.guidance_scales)}, "
                f"{found['photograph'].share:.1%} of the samples show the photograph and "
                f"{found['part'].share:.1%} the part that they were asked for; expected "
                f"{self.stage.min_photograph_accuracy:.0%} (min_photograph_accuracy) and "
                f"{self.stage.min_part_accuracy:.0%} (min_part_accuracy); below that the training "
                f"goes on: raise transformer.loop.steps and run again (see {self.records})"
            )

    def _record(self, samples: Mapping[float, Accuracies], best: float) -> None:
        record = {
            "best_guidance": best,
            "accuracy_by_guidance": {str(scale): _json(found) for scale, found in samples.items()},
            "accuracy_of_real_crops": _json(self.judge(self.held_out.pictures)),
        }
        write_json(record, self.records / "result.json")

    def _save_weights(self, weights: list[Tensor], folder: Path) -> None:
        bank = LatentBank.load(bank_path(self.config))
        pipeline = TextConditioning(self.config, 0).assemble(bank, weights)
        dtype = getattr(torch, self.stage.dtype)
        # Not the text encoder: transformers 5 loads it in the dtype that it is stored in, diffusers
        # all else in float32, and the stock pipeline does not convert between them.
        for model in (pipeline.transformer, pipeline.vae):
            model.to(dtype)
        pipeline.save_pretrained(folder)
        _name_tokenizer_for_all_versions(folder)


def _json(found: Accuracies) -> dict[str, dict[str, int]]:
    return {name: {"hits": one.hits, "count": one.count} for name, one in found.items()}


def _name_tokenizer_for_all_versions(folder: Path) -> None:
    """transformers 5 writes an alias of ``PreTrainedTokenizerFast`` that transformers 4 lacks."""
    for name in ("model_index.json", "tokenizer/tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
