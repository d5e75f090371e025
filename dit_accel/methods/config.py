"""What every method's config has in common."""

from typing import TYPE_CHECKING, Any, ClassVar

from dit_accel.configuration.strict_model import StrictModel
from dit_accel.errors import Problem
from dit_accel.span import Span

if TYPE_CHECKING:
    from dit_accel.plan import Plan


class MethodConfig(StrictModel):
    """Base of the frozen, strict config of a method; made known to plans by `registry.register`.

    Subclasses declare their parameters as fields: ``kind``, which names the method (a `Literal`
    with a default), and ``layers: Span`` and ``steps: Span`` where the method can be limited to a
    part of the grid of cells.
    """

    # Set by `registry.register`: the key of a plan that holds the method, and the field that names
    # it there.
    family: ClassVar[str]
    selector: ClassVar[str]

    # Whether its numbers hold for one model and one run: the key `calibration` says which.
    is_fitted: ClassVar[bool] = False

    # Whether cells in `layers` x `steps` run on fewer tokens; at most one method may do so in one.
    removes_tokens: ClassVar[bool] = False

    @property
    def method(self) -> str:
        """The name of the method in plan files, such as ``tome2d``."""
        return str(getattr(self, self.selector))

    @property
    def limits(self) -> dict[str, Span]:
        """The spans that limit this method: ``layers`` and ``steps``, where it has them."""
        named = {name: getattr(self, name, None) for name in ("layers", "steps")}
        return {name: span for name, span in named.items() if isinstance(span, Span)}

    def conflicts_with(self, plan: "Plan") -> str | None:
        """Return why this config cannot be in `plan` (naming both methods and the remedy).

        Called for every method whenever a plan is built. None if nothing stands against it.
        """
        return None

    def problems_on(self, num_layers: int, plan: "Plan") -> list[Problem]:
        """Return what stands against this config of `plan` on a model of `num_layers` blocks."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """Return the selector and what differs from the defaults, as a plan file holds it."""
        return {self.selector: self.method, **self.model_dump(mode="json", exclude_defaults=True)}
