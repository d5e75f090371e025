"""A frontier's config checked against its model, with nothing loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_accel.adapters import load_adapter
from dit_accel.backbones import find_backbone
from dit_accel.errors import DitAccelError
from dit_accel.evaluation.frontier.config import FrontierConfig, SeedRange
from dit_accel.evaluation.frontier.entries import Entry, entries_of, fingerprint
from dit_accel.measure.architectures import load_architecture
from dit_accel.methods.caching.placement import place
from dit_accel.sampling.preparing import PreparedSampling, prepare_sampling
from dit_accel.sampling.sample_config import SampleConfig
from dit_accel.sampling.specs import SampleSpec

_PICTURES = ("model", "dtype", "guidance_scale", "height", "width", "data", "text_tokens")
"""What of a set's identity decides the pictures of all rows alike."""


@dataclass(frozen=True)
class PreparedFrontier:
    """A frontier that can be measured.

    Attributes:
        config: what it compares.
        entries: its rows.
        seeds: those of the pictures.
        specs: one a seed.
        shared: what all rows have in common, JSON-serialisable.
        selecting: whether the seeds are those that plans are chosen on.
        command: makes all of it again; kept with the results.
    """

    config: FrontierConfig
    entries: list[Entry]
    seeds: SeedRange
    specs: list[SampleSpec]
    shared: dict[str, Any]
    selecting: bool
    command: str = ""

    @property
    def folder(self) -> Path:
        """Holds what has been measured so far."""
        return Path(self.config.output)

    @property
    def timed_specs(self) -> list[SampleSpec]:
        """Of the batch that is timed."""
        return self.specs[: self.config.timed_images]

    def picture_key(self, entry: Entry) -> str:
        """Hash of what decides its pictures."""
        seeds = self.seeds.model_dump()
        return fingerprint({**self.shared, "seeds": seeds, "entry": entry.identity()})

    def quality_key(self, entry: Entry) -> str:
        """Hash of what decides its fidelity and its cost."""
        compared = [str(self.config.reference), str(self.config.converged)]
        images = self.config.timed_images
        return fingerprint({"pictures": self.picture_key(entry), "to": compared, "timed": images})

    def timing_key(self, entry: Entry, machine: dict[str, Any]) -> str:
        """Hash of what decides its time; how many more pictures there are does not."""
        timed = {"first": self.seeds.first, "images": self.config.timed_images}
        return fingerprint(
            {**self.shared, "timed": timed, "entry": entry.identity(), "machine": machine}
        )


def prepare_frontier(
    config: FrontierConfig, *, selecting: bool = False, command: str = ""
) -> PreparedFrontier:
    """Check the model, the data, every plan and every peer.

    Args:
        config: what to compare.
        selecting: measure on the seeds that plans are chosen on, not on those of the report.
        command: see `PreparedFrontier`.

    Raises:
        DitAccelError: whatever would fail later, naming the row.
    """
    seeds = config.selection_seeds if selecting else config.report_seeds
    entries = entries_of(config)
    prepared = _prepare_pictures(config, seeds)
    _check_entries(entries, prepared)
    if config.timed_images > seeds.count:
        raise DitAccelError(
            f"timed_images: got {config.timed_images}, expected at most the {seeds.count} seeds;"
            " lower it, or raise the count of the seeds"
        )
    shared = {name: value for name, value in prepared.identity.items() if name in _PICTURES}
    specs = [prepared.specs[index] for index in seeds.seeds]
    return PreparedFrontier(config, entries, seeds, specs, shared, selecting, command)


def _prepare_pictures(config: FrontierConfig, seeds: SeedRange) -> PreparedSampling:
    """The converged run as a set of pictures: picture i has seed i and condition i."""
    sampling = SampleConfig(
        model=config.model,
        dtype=config.dtype,
        guidance_scale=config.guidance_scale,
        data=config.data,
        scheduler=config.converged.solver,
        num_inference_steps=config.converged.num_inference_steps,
        num_samples=seeds.seeds.stop,
        batch_size=config.batch_size,
    )
    return prepare_sampling(sampling)


def _check_entries(entries: list[Entry], prepared: PreparedSampling) -> None:
    """Settle on which blocks and steps every row acts."""
    transformer = load_architecture(prepared.folder).build("meta")
    num_layers = len(find_backbone(transformer).blocks(transformer))
    for entry in entries:
        try:
            entry.plan.check_against(num_layers, entry.base.num_inference_steps)
            place(entry.plan.cache, num_layers)
            if entry.plan.adapter is not None:
                load_adapter(entry.plan.adapter).check(transformer, entry.plan)
            if entry.peer is not None:
                entry.peer.check(num_layers)
        except DitAccelError as error:
            raise DitAccelError(f"{entry.name}: {error}") from None
