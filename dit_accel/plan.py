"""The plan: which methods run, with which parameters. Typed, frozen, YAML in and out."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, TypeAlias, Union

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo, model_validator

from dit_accel.adapters.source import beside
from dit_accel.calibration_record import Calibration
from dit_accel.configuration.strict_model import StrictModel, built
from dit_accel.configuration.strict_yaml import parse_mapping, read_mapping
from dit_accel.contradictions import shared_cells
from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.exact.config import ExactSetting, read_exact
from dit_accel.methods.caching.cache import CacheConfig, read_caches
from dit_accel.methods.caching.combinations import crowded_caches
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.reading import read_method
from dit_accel.plan_folder import read_plan_folder, write_plan_folder
from dit_accel.presets import is_preset, preset_path

PlanLike: TypeAlias = Union["Plan", Mapping[str, Any], str, os.PathLike[str]]

# Outermost first: the order in which methods act inside a cell.
FAMILIES = ("cache", "density", "merge", "attention")


def _read_method(value: Any, info: ValidationInfo) -> Any:
    return read_method(value, str(info.field_name))


Method: TypeAlias = Annotated[SerializeAsAny[MethodConfig] | None, BeforeValidator(_read_method)]


class Plan(StrictModel):
    """What is computed in each cell (step x layer) of a run; ``Plan()`` changes nothing.

    Attributes:
        exact: rewrites that change no result beyond rounding: ``True`` for all that need no
            compiler, or a mapping of rewrites; read as an `Exact`, ``False`` where none is on.
        cache: reuse or forecast from earlier steps; one mapping, or a list of caches that work
            side by side, such as deep blocks and guidance. Read as a tuple.
        density: blocks on fewer tokens.
        merge: tokens merged before, and split again after, attention or feed-forward.
        attention: the attention operator.
        adapter: trained weights: a file or folder that `dit-accel train` wrote, a shipped one's
            name, or a repository of the Hugging Face Hub.
        seed: from which, with layer and step, random choices derive.
        calibration: the run that calibrated caches were fitted to; other runs are refused.

    Raises:
        PlanError: for unknown keys, impossible values and contradictions, all of them at once.
    """

    exact: Annotated[ExactSetting, BeforeValidator(read_exact)] = False
    cache: Annotated[tuple[CacheConfig, ...], BeforeValidator(read_caches)] = ()
    density: Method = None
    merge: Method = None
    attention: Method = None
    adapter: str | None = Field(default=None, min_length=1)
    seed: int = Field(default=0, ge=0)
    calibration: Annotated[Calibration | None, built(Calibration)] = None

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Plan":
        problems: list[Problem | str] = [*self._overlaps(None, None), *crowded_caches(self.cache)]
        problems += self._unknown_calibration()
        for config in self.methods.values():
            message = config.conflicts_with(self)
            if message:
                problems.append(message)
        if problems:
            raise PlanError(*problems)
        return self

    @classmethod
    def load(cls, source: PlanLike) -> "Plan":
        """Return the plan that `source` stands for.

        Args:
            source: a plan (returned as it is), a mapping, the name of a preset, or the path of a
                YAML file or of a calibrated plan's folder. Write ``./name`` for one that is called
                like a preset.

        Raises:
            PlanError: if it is none of these, or the plan is refused.
        """
        if isinstance(source, Plan):
            return source
        if isinstance(source, Mapping):
            return cls._build({str(key): value for key, value in source.items()}, "plan")
        if not isinstance(source, str | os.PathLike):
            remedy = "pass one of these"
            expected = "a preset's name, the path of a YAML file, a mapping or a Plan"
            raise PlanError(mismatch(repr(source), expected, remedy), source="plan")
        name = os.fspath(source)
        is_path = not is_preset(name) and os.path.exists(name)
        path = Path(name) if is_path else preset_path(name)
        if path.is_dir():
            return cls._build(beside(read_plan_folder(path), path), str(path))
        return cls._build(beside(read_mapping(path), path.parent), str(path))

    @classmethod
    def from_yaml(cls, text: str) -> "Plan":
        """Read a plan from YAML text; an empty text is the empty plan.

        Raises:
            PlanError: if it is no YAML mapping, or the plan is refused.
        """
        return cls._build(parse_mapping(text, "plan"), "plan")

    @classmethod
    def _build(cls, data: dict[str, Any], source: str) -> "Plan":
        try:
            return cls(**data)
        except PlanError as error:
            raise PlanError(*error.problems, source=source) from None

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the empty plan and from the methods' defaults."""
        plain = {
            "exact": self.exact and self.exact.document(),
            "adapter": self.adapter,
            "seed": self.seed,
        }
        methods: dict[str, Any] = {
            family: config.to_dict()
            for family in FAMILIES
            if isinstance(config := getattr(self, family), MethodConfig)
        }
        caches = [cache.to_dict() for cache in self.cache]
        methods = {"cache": caches[0] if len(caches) == 1 else caches} | methods
        known = None if self.calibration is None else self.calibration.to_dict()
        document = methods | plain | {"calibration": known}
        return {key: value for key, value in document.items() if value}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``plan.yaml``, and beside it the numbers of calibrated caches, into a folder.

        ``Plan.load(folder)`` reads an equal plan.

        Raises:
            PlanError: the folder cannot be written.
        """
        write_plan_folder(self, Path(folder))

    def to_yaml(self) -> str:
        """Return the YAML text from which `from_yaml` builds an equal plan."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)

    @property
    def methods(self) -> dict[str, MethodConfig]:
        """The configs that are set, by their place in the plan, outermost in a cell first."""
        several = len(self.cache) > 1
        caches = {f"cache[{i}]" if several else "cache": each for i, each in enumerate(self.cache)}
        configs = caches | {family: getattr(self, family) for family in FAMILIES[1:]}
        return {place: config for place, config in configs.items() if config is not None}

    @property
    def is_empty(self) -> bool:
        """Whether the plan leaves every cell as it is (the seed alone does nothing)."""
        return not self.methods and not self.exact and self.adapter is None

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of everything that is set, defaults included.

        What a plan was calibrated for is left out: it decides who may use it, not what it does.
        """
        own = {key: value for key, value in self if key != "calibration"}
        document = {key: value for key, value in own.items() if value not in (None, ())}
        text = json.dumps(document, sort_keys=True, default=_canonical)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check_against(self, num_layers: int, num_steps: int | None = None) -> None:
        """Refuse spans that reach outside a model or a run, and contradictions inside it.

        Args:
            num_layers: transformer blocks of the model.
            num_steps: denoising steps of the run; None if not known yet.

        Raises:
            PlanError: listing every problem.
        """
        problems: list[Problem | str] = []
        counts = {"layers": num_layers, "steps": num_steps}
        for family, config in self.methods.items():
            for name, span in config.limits.items():
                count = counts[name]
                try:
                    if count is not None:
                        span.resolve(count, f"{family}.{name}")
                except PlanError as error:
                    problems += error.problems
        for place, config in self.methods.items():
            if isinstance(config, CacheConfig) and num_steps is not None:
                reason = config.policy.fits_run(num_steps)
                problems += [Problem(place, reason)] if reason else []
        if not problems:
            problems += self._overlaps(num_layers, num_steps)
            for config in self.methods.values():
                problems += config.problems_on(num_layers, self)
        if problems:
            raise PlanError(*problems, *self._other_models_adapter(problems), source="plan")
        if self.calibration is not None:
            self.calibration.check_run(num_steps=num_steps)

    def remembered_spans(self, num_layers: int) -> list[tuple[str, range]]:
        """The ranges of blocks that caches remember, each with the cache's place in the plan."""
        return [
            (place, span)
            for place, config in self.methods.items()
            if isinstance(config, CacheConfig)
            for span in config.spans(num_layers)
        ]

    def _other_models_adapter(self, problems: Iterable[Problem | str]) -> list[Problem]:
        """What to do about a layout that does not fit because the adapter is another model's."""
        places = [each.path for each in problems if isinstance(each, Problem)]
        if self.adapter is None or not any(path.startswith("density") for path in places):
            return []
        reason = (
            f"{self.adapter} was trained for this layout and so for another model; use the plan"
            " there, or train an adapter for this model (dit-accel train with this density,"
            " without layout; docs/adaptation.md)"
        )
        return [Problem("adapter", reason)]

    def _unknown_calibration(self) -> list[Problem]:
        """Calibrated caches of which nobody knows what they were fitted to."""
        if self.calibration is not None:
            return []
        return [
            Problem(
                f"{place}.{axis}",
                "calibrated numbers without the key 'calibration', which says what they were"
                " fitted to; copy it from the plan that dit-accel calibrate wrote",
            )
            for place, config in self.methods.items()
            for axis in ("predictor", "policy")
            if isinstance(config, CacheConfig) and getattr(config, axis).is_fitted
        ]

    def _overlaps(self, num_layers: int | None, num_steps: int | None) -> list[str]:
        """Return each pair of methods that would both remove tokens in one cell."""
        removing = [config for config in self.methods.values() if config.removes_tokens]
        return [
            message
            for a, b in combinations(removing, 2)
            if (message := shared_cells(a, b, num_layers, num_steps))
        ]


def _canonical(value: Any) -> Any:
    """Return what JSON can hold of a config, a schedule or a span: the same for equal ones."""
    return dict(value) if isinstance(value, StrictModel) else value.canonical()
