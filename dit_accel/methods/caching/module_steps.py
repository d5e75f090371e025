"""What the caches inside the blocks leave out in each step and layer, known before a run."""

from __future__ import annotations

from collections.abc import Iterator

from dit_accel.methods.caching.cache import CacheConfig
from dit_accel.methods.caching.module_placement import layer_groups
from dit_accel.methods.caching.policies.policy import Policy
from dit_accel.methods.caching.policies.token_policy import TokenPolicy
from dit_accel.run_state import Position


def module_labels(
    cache: CacheConfig, num_layers: int, positions: list[Position], num_tokens: int
) -> list[dict[int, str]]:
    """For each step of a run, in words, what is not computed in some layers.

    Args:
        cache: at a site inside the blocks.
        num_layers: blocks of the model.
        positions: of the steps.
        num_tokens: `N`.
    """
    table: list[dict[int, str]] = [{} for _ in positions]
    for layers, policy in layer_groups(cache, num_layers):
        for at, last in forecast_steps(policy, positions):
            for layer in layers:
                if isinstance(policy, TokenPolicy):
                    count = policy.count(at, last, layer, num_layers, num_tokens)
                    table[at.step][layer] = f"{count} tokens computed"
                else:
                    table[at.step][layer] = f"{cache.site.method} forecast"
    return table


def forecast_steps(policy: Policy, positions: list[Position]) -> Iterator[tuple[Position, int]]:
    """The steps that a policy is known not to compute, each with the last before that it does."""
    last: int | None = None
    for at in positions:
        action = policy.action(at.step, last, at.fraction, at.num_steps)
        if action == "forecast" and last is not None:
            yield at, last
        elif action == "compute":
            last = at.step
