"""The plan: which methods run, with which parameters. Typed, frozen, YAML in and out."""

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, TypeAlias, Union

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo, model_validator

from dit_accel.contradictions import shared_cells
from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.registry import SELECTORS, find, kinds
from dit_accel.presets import preset_names, preset_path
from dit_accel.strict_model import StrictModel
from dit_accel.strict_yaml import parse_mapping, read_mapping

PlanLike: TypeAlias = Union["Plan", Mapping[str, Any], str, os.PathLike[str]]

# Outermost first: the order in which methods act inside a cell.
FAMILIES = ("cache", "density", "merge", "attention")


def _read_method(value: Any, info: ValidationInfo) -> Any:
    """Build the config that a mapping describes; its selector key says of which class."""
    family = str(info.field_name)
    selector = SELECTORS[family]
    if value is None:
        return None
    if isinstance(value, MethodConfig):
        if value.family != family:
            remedy = f"pass it as {value.family}=…"
            raise PlanError(mismatch(repr(value), f"a config of the family '{family}'", remedy))
        return value
    choices = ", ".join(kinds(family))
    if not isinstance(value, Mapping):
        remedy = f"write for instance {family}: {{{selector}: {next(iter(kinds(family)), '…')}}}"
        raise PlanError(mismatch(value, f"a mapping with '{selector}' one of: {choices}", remedy))
    if selector not in value:
        remedy = f"add '{selector}: …', one of: {choices}"
        raise PlanError(mismatch(value, f"the key '{selector}', which names the method", remedy))
    return find(family, value[selector])(**{str(key): item for key, item in value.items()})


Method: TypeAlias = Annotated[SerializeAsAny[MethodConfig] | None, BeforeValidator(_read_method)]


class Plan(StrictModel):
    """What is computed in each cell (step x layer) of a run; ``Plan()`` changes nothing.

    Attributes:
        exact: rewrites that change no result beyond rounding; none exist in this version.
        cache: reuse or forecast from earlier steps.
        density: blocks on fewer tokens.
        merge: tokens merged before, and split again after, attention or feed-forward.
        attention: the attention operator.
        seed: from which, with layer and step, random choices derive.

    Raises:
        PlanError: for unknown keys, impossible values and contradictions, all of them at once.
    """

    exact: bool = False
    cache: Method = None
    density: Method = None
    merge: Method = None
    attention: Method = None
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "Plan":
        problems: list[Problem | str] = []
        if self.exact:
            choices = ", ".join(kinds("exact")) or "none in this version"
            expected = f"false, because the exact rewrites available are: {choices}"
            problems.append(Problem("exact", mismatch(True, expected, "remove 'exact'")))
        problems += self._overlaps(None, None)
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
                YAML file. Write ``./name`` for a file that is called like a preset.

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
        is_path = name not in preset_names() and os.path.exists(name)
        path = Path(name) if is_path else preset_path(name)
        return cls._build(read_mapping(path), str(path))

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
        plain = {"exact": self.exact, "seed": self.seed}
        methods = {family: config.to_dict() for family, config in self.methods.items()}
        return methods | {key: value for key, value in plain.items() if value}

    def to_yaml(self) -> str:
        """Return the YAML text from which `from_yaml` builds an equal plan."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)

    @property
    def methods(self) -> dict[str, MethodConfig]:
        """The configs that are set, by family, outermost in a cell first."""
        configs = {family: getattr(self, family) for family in FAMILIES}
        return {family: config for family, config in configs.items() if config is not None}

    @property
    def is_empty(self) -> bool:
        """Whether the plan leaves every cell as it is (the seed alone does nothing)."""
        return not self.methods and not self.exact

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of everything that is set, defaults included."""
        document = {key: value for key, value in self if value is not None}
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
        if not problems:
            problems += self._overlaps(num_layers, num_steps)
        if problems:
            raise PlanError(*problems, source="plan")

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
    return dict(value) if isinstance(value, MethodConfig) else value.canonical()
