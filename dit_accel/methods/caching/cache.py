"""One cache of a plan: a site, a predictor and a policy, which are independent of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dit_accel.errors import PlanError, Problem, mismatch, show
from dit_accel.methods.caching.combinations import reason_against, reason_against_guard
from dit_accel.methods.caching.policies.policy import Policy
from dit_accel.methods.caching.predictors.polynomial import Polynomial
from dit_accel.methods.caching.predictors.predictor import Predictor
from dit_accel.methods.caching.sites.model import ModelSite
from dit_accel.methods.caching.sites.site import Site
from dit_accel.methods.config import MethodConfig
from dit_accel.methods.reading import read_method
from dit_accel.methods.registry import find, kinds

if TYPE_CHECKING:
    from dit_accel.plan import Plan

AXES = ("site", "predictor", "policy")

GUARD_FACTOR = 8.0
"""Of `guard: auto`: norms of one residual span about a decade over a run."""


def _read_axis(value: Any, info: ValidationInfo) -> Any:
    if value is None:
        expected = "a name, or a mapping with 'kind'"
        raise PlanError(Problem("", mismatch(value, expected, "write one, or remove the key")))
    return read_method(value, str(info.field_name))


_axis = BeforeValidator(_read_axis)


class CacheConfig(MethodConfig):
    """`cache: {site: model, predictor: polynomial, policy: {kind: interval, interval: 3}}`.

    Args:
        site: what is remembered; a name, or a mapping with `kind`.
        predictor: how it is forecast.
        policy: which steps, which samples are computed.
        history: dtype of the snapshots: that of the run, or float32.
        guard: recompute a sample whose forecast holds NaN or Inf or has a norm beyond the range
            seen so far by this factor. `auto` does so (with a factor of 8) where the policy reads
            from the device anyway; a number does so for static policies too, at one read in each
            forecast step; `false` never does.
        deterministic: compute all rows and select, where samples decide differently.
    """

    family: ClassVar[str] = "cache"

    site: Annotated[SerializeAsAny[Site], _axis] = ModelSite()
    predictor: Annotated[SerializeAsAny[Predictor], _axis] = Polynomial()
    policy: Annotated[SerializeAsAny[Policy], _axis]
    history: Literal["run", "float32"] = "run"
    guard: float | Literal["auto", False] = "auto"
    deterministic: bool = False

    @field_validator("guard", mode="before")
    @classmethod
    def _readable_guard(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 1
        if number or value is False or value == "auto":
            return float(value) if number else value
        raise ValueError("expected auto, false, or a factor of at least 1; write guard: auto")

    @model_validator(mode="after")
    def _makes_sense(self) -> CacheConfig:
        refused = {
            "policy": reason_against(self.site, self.policy),
            "predictor": self.site.takes(self.predictor.method)
            or self.predictor.works_at(self.site)
            or self._many_histories(),
        }
        for axis, reason in refused.items():
            if reason:
                raise PlanError(Problem(axis, reason))
        against = reason_against_guard(self.site, self.policy)
        if against and self.guard not in ("auto", False):
            raise PlanError(
                Problem("guard", f"got {self.guard}, expected auto or false: {against}")
            )
        return self

    def _many_histories(self) -> str | None:
        """A fitted predictor has weights for the history that it was fitted to."""
        if not self.predictor.inputs or not (self.per_sample or self.guard_factor is not None):
            return None
        culprit = f"policy {self.policy.method}" if self.per_sample else "guard"
        return (
            f"{self.predictor.method} has weights for one history alone, and {culprit} changes it"
            " sample by sample; use policy calibrated or list without a guard"
        )

    @property
    def method(self) -> str:
        """The three axes in short, such as `model/polynomial/interval`."""
        return "/".join(getattr(self, axis).method for axis in AXES)

    @property
    def per_sample(self) -> bool:
        """Whether samples are decided one by one, while the step runs."""
        return self.policy.looks_at != "nothing"

    @property
    def guard_factor(self) -> float | None:
        """The factor of the guard, `None` where it is off."""
        if self.guard == "auto":
            return GUARD_FACTOR if self.per_sample else None
        return float(self.guard) or None

    @property
    def snapshots(self) -> int:
        """The most snapshots that are kept of a row."""
        return max(self.predictor.snapshots, self.policy.snapshots)

    def spans(self, num_layers: int) -> list[range]:
        """The ranges of blocks that are remembered; none where rows or modules are."""
        spans = self.site.spans(num_layers, 1 if self.policy.looks_at == "first_blocks" else 0)
        if self.policy.looks_at == "last_block":  # what it adds is forecast by itself
            *others, last = spans
            return [*others, *(part for part in (last[:-1], last[-1:]) if part)]
        return spans

    def conflicts_with(self, plan: Plan) -> str | None:
        """Methods that change the tokens, or the rows, that this cache counts on."""
        return self._needs_all_tokens(plan) or self._takes_turns(plan) or self._changes_rows(plan)

    def _needs_all_tokens(self, plan: Plan) -> str | None:
        """Histories are of the full grid, and token by token where tokens are chosen."""
        others = ["density"] if self.site.modules else []
        if self.policy.chooses_tokens:
            others += ["merge", "attention"]
        found = [family for family in others if getattr(plan, family) is not None]
        if not found:
            return None
        return (
            f"cache: site {self.site.method} remembers what modules make of all tokens, and"
            f" {found[0]} hands them others; remove one of the two"
        )

    def _takes_turns(self, plan: Plan) -> str | None:
        """A matching is made in the order of the blocks."""
        if self.policy.looks_at != "last_block" or plan.merge is None:
            return None
        return (
            f"cache: policy {self.policy.method} runs the last block before the others, and merge"
            " would match its tokens out of turn; remove merge, or use policy first_block"
        )

    def _changes_rows(self, plan: Plan) -> str | None:
        """A matching kept over the steps would depend on which batch-mates were computed."""
        changing = self.per_sample or self.site.is_guidance or self.guard_factor is not None
        if changing and getattr(plan.merge, "reuse_steps", 1) > 1:
            which = f"policy {self.policy.method}" if self.per_sample else "this cache"
            if self.site.is_guidance:
                which = "site guidance"
            return (
                f"cache: {which} computes other rows at each step, so merge.reuse_steps must be 1;"
                " set it to 1 or use a static policy such as interval on the blocks"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """The policy and what differs from the defaults, as a plan file holds it."""
        defaults = {axis: type(self).model_fields[axis].default for axis in AXES}
        axes = {
            axis: _short(getattr(self, axis))
            for axis in AXES
            if getattr(self, axis) != defaults[axis]
        }
        rest = self.model_dump(mode="json", exclude_defaults=True, exclude=set(AXES))
        return axes | rest


def _short(config: MethodConfig) -> Any:
    document = config.to_dict()
    return config.method if len(document) == 1 else document


def read_caches(value: Any) -> Any:
    """Read the key `cache` of a plan: nothing, one mapping, or a list of them.

    Raises:
        PlanError: for anything else, or where a cache is refused.
    """
    if value is None:
        return ()
    if isinstance(value, list | tuple) and value:
        return tuple(_read_cache(item, f"[{index}]") for index, item in enumerate(value))
    return (_read_cache(value, ""),)


def _read_cache(value: Any, path: str) -> CacheConfig:
    if isinstance(value, CacheConfig):
        return value
    if isinstance(value, MethodConfig):
        remedy = f"pass it as {value.family}=…"
        problem = Problem(path, mismatch(repr(value), "a config of the family 'cache'", remedy))
        raise PlanError(problem)
    if not isinstance(value, Mapping):
        remedy = "write for instance cache: {policy: {kind: interval, interval: 3}}"
        expected = "a mapping with 'policy', or a list of such mappings"
        raise PlanError(Problem(path, mismatch(value, expected, remedy)))
    document = {str(key): item for key, item in value.items()}
    try:
        return CacheConfig(**document)
    except PlanError as error:
        better = _misplaced(document)
        problems = [better.get(problem.path, problem) for problem in error.problems]
        raise PlanError(*(problem.under(path) for problem in problems)) from None


def _misplaced(document: Mapping[str, Any]) -> dict[str, Problem]:
    """Parameters of an axis that stand beside it, as in `{policy: interval, interval: 3}`."""
    found = {}
    for axis in AXES:
        named = document.get(axis, CacheConfig.model_fields[axis].default)
        kind = named.get("kind") if isinstance(named, Mapping) else getattr(named, "kind", named)
        fields = find(axis, kind).model_fields if kind in kinds(axis) else {}
        for key in (fields.keys() & document.keys()) - {"kind", *CacheConfig.model_fields}:
            remedy = f"write {axis}: {{kind: {kind}, {key}: {show(document[key])}}}"
            found[key] = Problem(key, mismatch(document[key], f"it inside '{axis}'", remedy))
    return found
