"""Sparse-dense networks, block by block against the formulas on stock weights in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_density import run_block, run_layout
from references import record
from tiny_models import FAMILIES, TinyFamily, every_family
from torch import Tensor
from torch.nn import functional

import dit_accel
from dit_accel.errors import PlanError, UnsupportedError
from dit_accel.learned_parts import fixed_density, learned_parts
from dit_accel.methods.cell import Cell
from dit_accel.methods.sparse_density import SparseDensity
from dit_accel.plan import Plan
from dit_accel.tokens.grid import Grid, cell_sizes
from dit_accel.tokens.pool import pool, unpool

FULL = Grid(8, 8)
SMALL: dict[str, Any] = {"segments": 1, "group": [1, 1, 1, 1], "pooling": 1, "dense": 1}
PLAIN: dict[str, Any] = {"bottom": 1, "segments": 2, "group": [0, 2, 0, 0]}
TWO: dict[str, Any] = {"segments": 2, "group": [1, 1, 1, 0]}


def density(**fields: Any) -> dict[str, Any]:
    return {"density": {"kind": "sparse", "grid": [4, 4]} | fields}


class Watched:
    """A tiny float64 model under a plan; what enters and leaves its stack of blocks."""

    def __init__(self, family: TinyFamily, plan: dict[str, Any], num_layers: int) -> None:
        self.family, self.transformer = family, family.transformer(num_layers, torch.float64)
        dit_accel.accelerate(self.transformer, plan)
        self.blocks = list(self.transformer.transformer_blocks)

    def train(self) -> None:
        """Random values in place of the initial ones."""
        generator = torch.Generator().manual_seed(3)
        for parameter in learned_parts(self.transformer).parameters():
            parameter.data += 0.3 * torch.randn(
                parameter.shape, generator=generator, dtype=parameter.dtype
            )

    @torch.no_grad()
    def run(self, size: tuple[int, int] = (8, 8)) -> tuple[Tensor, Tensor, dict[str, Any]]:
        inputs, outputs, handles = record([self.blocks[0], self.blocks[-1]])
        seen: list[dict[str, Any]] = []
        handles.append(
            self.blocks[0].register_forward_pre_hook(
                lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True
            )
        )
        latents = torch.randn(2, 4, *size, dtype=torch.float64)
        with dit_accel.run(self.transformer, timesteps=1):
            condition = self.family.condition((1, 2), torch.float64)
            self.family.predict(self.transformer, latents, 500, condition)
        for handle in handles:
            handle.remove()
        return inputs[0][0], outputs[1][0], seen[0]

    def plain(
        self, x: Tensor, arguments: dict[str, Any], layout: dict[str, Any], full: Grid, grid: Grid
    ) -> Tensor:
        """The delta form, fresh, on stock blocks."""
        dit_accel.restore(self.transformer)
        with torch.no_grad():
            return run_layout(
                self.blocks,
                x,
                arguments,
                layout,
                lambda tokens: pool(tokens, full, grid),
                lambda tokens: unpool(tokens, full, grid),
                lambda z, entered, dense: dense + z - entered,
                bias=cell_sizes(full, grid).double().log(),
            )


@every_family
@pytest.mark.parametrize("layout", [SMALL, TWO, PLAIN], ids=["all_roles", "two", "no_recovery"])
@pytest.mark.parametrize("coarse", [(4, 4), (3, 5), (1, 1)])
def test_a_fresh_delta_form_is_the_stated_function_of_the_dense_blocks(
    family: TinyFamily, layout: dict[str, Any], coarse: tuple[int, int]
) -> None:
    depth = SparseDensity(pool=2, layout=layout).layout
    assert depth is not None
    watched = Watched(family, density(layout=layout, grid=list(coarse)), depth.depth)
    x, got, arguments = watched.run()
    expected = watched.plain(x, arguments, layout, FULL, Grid(*coarse))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@every_family
def test_the_whole_stack_as_one_segment_is_a_schedule_of_patch_sizes(family: TinyFamily) -> None:
    """FlexiDiT-like, as in docs/density.md: few tokens early, the stock model late."""
    grids = {"schedule": "steps", "values": [[4, 4], [8, 8]], "at": [0.5]}
    transformer = family.transformer(3)
    stock = family.transformer(3)
    plan = density(grid=grids, layout={"segments": 1, "group": [0, 3, 0, 0]})
    dit_accel.accelerate(transformer, plan)
    condition, latents = family.condition((1, 2), torch.float32), torch.randn(2, 4, 8, 8)
    tokens: list[int] = []
    transformer.transformer_blocks[1].register_forward_pre_hook(
        lambda _, args: tokens.append(args[0].shape[1])
    )
    with torch.no_grad(), dit_accel.run(transformer, 4):
        got = [
            family.predict(transformer, latents, step, condition) for step in (900, 700, 500, 300)
        ]
        late = family.predict(stock, latents, 300, condition)
    assert tokens == [16, 16, 64, 64]
    assert torch.equal(got[-1], late)


@pytest.mark.parametrize("name", ["alpha", "sigma"])
def test_rectangles(name: str) -> None:
    watched = Watched(FAMILIES[name], density(layout=SMALL, grid=[3, 5]), 6)
    x, got, arguments = watched.run((4, 12))
    expected = watched.plain(x, arguments, SMALL, Grid(4, 12), Grid(3, 5))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@every_family
@pytest.mark.parametrize("coarse", [(4, 4), (3, 5)])
@pytest.mark.parametrize("fresh", [True, False])
def test_the_papers_form(family: TinyFamily, coarse: tuple[int, int], fresh: bool) -> None:
    layout = SMALL | {"group": [2, 1, 1, 1], "dense": 0}
    watched = Watched(family, density(layout=layout, grid=list(coarse), form="paper"), 6)
    if not fresh:
        watched.train()
    part: Any = learned_parts(watched.transformer)["segment_0"]
    part.entry_position.data.zero_(), part.exit_position.data.zero_()
    x, got, arguments = watched.run()
    dit_accel.restore(watched.transformer)

    def adaptive(tokens: Tensor) -> Tensor:
        image = tokens.mT.unflatten(2, (8, 8))
        return functional.adaptive_avg_pool2d(image, coarse).flatten(2).mT

    def nearest(tokens: Tensor) -> Tensor:
        image = tokens.mT.unflatten(2, coarse)
        return functional.interpolate(image, size=(8, 8), mode="nearest").flatten(2).mT

    with torch.no_grad():
        expected = run_layout(
            watched.blocks,
            x,
            arguments,
            layout,
            adaptive,
            nearest,
            lambda z, _, dense: dense if fresh else part.sparse(z) + part.dense(dense),
        )
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@every_family
def test_segments_at_the_full_grid_are_the_dense_stack(family: TinyFamily) -> None:
    """Merge, sparse and delta recovery of H' = H (O2, O7); the paper's form is not it (O4)."""
    transformer = family.transformer(3, torch.float64)
    inputs, _, _ = record([transformer.transformer_blocks[0]])
    seen: list[dict[str, Any]] = []
    transformer.transformer_blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    with torch.no_grad():
        latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        family.predict(transformer, latents, 500, family.condition((1, 2), torch.float64))
        x, arguments, blocks = inputs[0][0], seen[0], list(transformer.transformer_blocks)
        dense = x
        for block in blocks:
            dense = run_block(block, dense, arguments)
        layout, whole = {"segments": 1, "group": [1, 1, 1, 0]}, lambda tokens: tokens
        rest = (blocks, x, arguments, layout, whole, whole)
        delta = run_layout(*rest, lambda z, entered, dense: dense + z - entered)
        paper = run_layout(*rest, lambda z, entered, dense: dense)
    torch.testing.assert_close(delta, dense, rtol=1e-12, atol=1e-12)
    assert (paper - dense).norm() > 0.01 * dense.norm()


@every_family
@pytest.mark.parametrize("form", ["delta", "paper"])
def test_a_dense_step_is_the_stock_model_bit_for_bit_whatever_was_learned(
    family: TinyFamily, form: str
) -> None:
    transformer = family.transformer(num_layers=6)
    stock = family.denoise(transformer, (1, 2), 3)
    for grid in ([8, 8], [64, 64]):
        dit_accel.accelerate(transformer, density(grid=grid, form=form))
        for parameter in learned_parts(transformer).parameters():
            parameter.data += 1.0
        assert torch.equal(family.denoise(transformer, (1, 2), 3), stock)
    dit_accel.accelerate(transformer, density(form=form))
    sparse = family.denoise(transformer, (1, 2), 3)
    assert not torch.allclose(sparse, stock, atol=1e-3)
    with fixed_density(transformer, None):
        assert torch.equal(family.denoise(transformer, (1, 2), 3), stock)
    with fixed_density(transformer, (2, 8)):
        other = family.denoise(transformer, (1, 2), 3)
    assert not torch.equal(other, sparse) and not torch.equal(other, stock)
    assert torch.equal(family.denoise(transformer, (1, 2), 3), sparse)


@pytest.mark.parametrize("name", ["dit", "sigma"])
def test_maps_that_are_constant_over_the_grid_are_exact(name: str) -> None:
    """O8, on grids that divide and that don't; pooling blocks are exact too then."""
    family = FAMILIES[name]
    watched = Watched(family, density(layout=SMALL), 6)
    with torch.no_grad():
        watched.transformer.pos_embed.pos_embed.zero_()
        latents = torch.randn(2, 4, 1, 1, dtype=torch.float64).expand(2, 4, 8, 8)
        condition = family.condition((1, 2), torch.float64)
        outputs = []
        for grid in (None, (4, 4), (3, 5), (1, 1)):
            with fixed_density(watched.transformer, grid):
                outputs.append(family.predict(watched.transformer, latents, 500, condition))
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["dit", "sigma"])
@pytest.mark.parametrize("layout", [TWO, PLAIN], ids=["merge_and_recovery", "sparse_alone"])
@pytest.mark.parametrize("coarse", [(4, 4), (3, 5)])
def test_maps_that_are_constant_over_the_cells_are_exact(
    name: str, layout: dict[str, Any], coarse: tuple[int, int]
) -> None:
    """Cells that differ in size too: keys of many tokens weigh as much as all of these."""
    family, depth = FAMILIES[name], SparseDensity(pool=2, layout=layout).layout
    assert depth is not None
    watched, grid = Watched(family, density(layout=layout), depth.depth), Grid(*coarse)
    with torch.no_grad():
        watched.transformer.pos_embed.pos_embed.zero_()
        cells = torch.randn(2, grid.size, 4, dtype=torch.float64)
        latents = unpool(cells, FULL, grid).mT.unflatten(2, tuple(FULL))
        condition = family.condition((1, 2), torch.float64)
        outputs = []
        for each in (None, coarse):
            with fixed_density(watched.transformer, each):
                outputs.append(family.predict(watched.transformer, latents, 500, condition))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


@every_family
def test_position_gains_reach_the_tokens(family: TinyFamily) -> None:
    watched = Watched(family, density(layout=TWO), 6)
    _, before, _ = watched.run()
    for name, parameter in learned_parts(watched.transformer).named_parameters():
        if name.endswith("position"):
            parameter.data.fill_(0.5)
    torch.manual_seed(0)
    _, after, _ = watched.run()
    assert not torch.allclose(before, after)


def test_the_grid_follows_the_schedule_and_the_steps_a_range() -> None:
    config = SparseDensity(
        grid={"schedule": "steps", "values": [[2, 2], [4, 4], [8, 8]], "at": [0.4, 0.8]},
        steps=[1, 11],
    )

    def at(step: int, layer: int = 1) -> str:
        return str(config.operator(Cell(layer, 6, step, 11, step / 10, FULL)))

    assert [at(step) for step in (0, 1, 3, 4, 7, 8, 10)] == [
        *("None", "merge 2x2", "merge 2x2", "merge 4x4", "merge 4x4", "None", "None")
    ]
    assert [at(1, layer) for layer in range(6)] == [
        *("pool mean", "merge 2x2", "sparse 2x2", "recover 2x2", "None", "None")
    ]


def test_plans_round_trip_and_fingerprints_tell_layouts_apart() -> None:
    plan = Plan.from_yaml(
        "density: {kind: sparse, pool: 2, form: paper,"
        " layout: {pooling: 2, segments: 4, group: [1, 3, 1, 1], dense: 2}}"
    )
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert plan.fingerprint != Plan(density={"kind": "sparse", "pool": 2}).fingerprint


def test_the_matrix_for_the_detail_may_be_left_out_of_the_delta_form_alone() -> None:
    transformer = FAMILIES["dit"].transformer(num_layers=6)
    dit_accel.accelerate(transformer, density(layout=TWO, detail=False))
    names = {name.partition(".")[2] for name, _ in learned_parts(transformer).named_parameters()}
    assert names == {"entry_position", "exit_position", "change.weight", "change.bias"}
    with pytest.raises(PlanError, match="expected form: delta where detail is false"):
        SparseDensity(pool=2, form="paper", detail=False)


def test_a_layout_for_another_model_is_refused_before_anything_is_attached() -> None:
    transformer = FAMILIES["dit"].transformer(num_layers=4)
    with pytest.raises(PlanError, match=r"6 blocks, expected 4"):
        dit_accel.accelerate(transformer, density(layout=SMALL))
    assert not any(hasattr(module, "_diffusers_hook") for module in transformer.modules())


def test_a_mask_over_image_tokens_and_fused_projections_are_refused() -> None:
    family = FAMILIES["alpha"]
    transformer = family.transformer(num_layers=4)
    dit_accel.accelerate(transformer, density())
    condition = family.condition((1,), torch.float32)
    latents = torch.randn(1, 4, 8, 8)
    with pytest.raises(UnsupportedError, match="attention_mask"):
        family.predict(transformer, latents, 500, condition | {"attention_mask": torch.ones(1, 64)})
    transformer.fuse_qkv_projections()
    with pytest.raises(UnsupportedError, match="unfuse_qkv_projections"):
        family.predict(transformer, latents, 500, condition)


def test_fixed_density_needs_a_density() -> None:
    transformer = FAMILIES["dit"].transformer()
    with (
        pytest.raises(UnsupportedError, match="no plan with density"),
        fixed_density(transformer, (4, 4)),
    ):
        pass
    assert len(learned_parts(transformer)) == 0
