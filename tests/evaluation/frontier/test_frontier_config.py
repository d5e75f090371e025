"""What a frontier's YAML may say, and how it is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dit_accel.adaptation.config import load_config
from dit_accel.cli import app
from dit_accel.errors import DitAccelError
from dit_accel.evaluation.frontier.config import load_frontier
from dit_accel.evaluation.frontier.entries import EXACT, entries_of
from dit_accel.evaluation.frontier.prepare import prepare_frontier
from dit_accel.measure.candidates import Base
from dit_accel.plan import Plan
from dit_accel.resources import config_folder


def test_grids_are_multiplied_out(document: Path) -> None:
    grid = "peers=[{kind: cache_dit, grid: {threshold: [0.1, 0.2], taylor: [0, 1], first: 1}, "
    config = load_frontier(document, [grid + "bases: ['DDIM:8', 'UniPC:6']}]"])
    labels = [entry.name for entry in entries_of(config) if entry.kind == "peer"]
    assert len(labels) == 8
    assert labels[:3] == [
        "cache-dit F1 B0 W8 0.1, DDIM 8",
        "cache-dit F1 B0 W8 0.1, UniPC 6",
        "cache-dit F1 B0 W8 0.1 T1, DDIM 8",
    ]


def test_plans_come_from_presets_documents_and_files(document: Path, tmp_path: Path) -> None:
    text = "cache: {policy: {kind: list, compute: [0, 2]}}"
    (tmp_path / "plan.yaml").write_text(text)
    bases = "bases: ['DDIM:8']"
    changes = [
        f"plans={{fast: {{{bases}}}, a: {{plan: {tmp_path}/plan.yaml, {bases}}}, "
        f"b: {{plan: {{{text}}}, {bases}}}}}"
    ]
    plans = {
        entry.label: entry.plan
        for entry in entries_of(load_frontier(document, changes))
        if entry.kind == "plan"
    }
    assert plans["a"] == plans["b"]
    assert plans["fast"] == Plan.load("fast")
    assert plans["a"].exact == EXACT.exact and not Plan.from_yaml(text).exact


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("titel=x", ["titel", "did you mean 'title'"]),
        ("report_seeds.cuont=4", ["report_seeds.cuont", "did you mean 'count'"]),
        ("report_seeds.count=1", ["report_seeds.count", "got 1", "use 2 or more"]),
        ("report_seeds.first=1", ["report_seeds", "1 to 3", "seeds 0 to 1", "first to 2"]),
        ("rounds=0", ["rounds", "got 0"]),
        ("speed_ups=[2, 0]", ["speed_ups[1]", "got 0", "more than 0"]),
        ("reference=DDIM", ["reference", 'got "DDIM"', "SOLVER:STEPS", "UniPC:20"]),
        ("reference=DIM:8", ["reference", "did you mean 'DDIM'"]),
        ("reference=DDPM:8", ["reference", "deterministic"]),
        ("reference=DDIM:50", ["reference", "add 50 to dense.DDIM"]),
        ("goals=['UniPC:20']", ["goals[0]", "add 20 to dense.UniPC"]),
        ("dense={DDIM: [4, 4], UniPC: [6]}", ["dense", "each number of steps of DDIM once"]),
        ("dense={DDIM: 4}", ["dense", "a list of steps for DDIM", "DDIM: [8, 16, 50]"]),
        ("dense={DIM: [4]}", ["dense", "did you mean 'DDIM'"]),
        ("plans.fast.bases=['UniPC:7']", ["plans.fast.bases", "add 7 to dense.UniPC"]),
        ("plans.fast.base=x", ["plans.fast.base", "did you mean 'bases'"]),
        ("plans.fast.bases=[]", ["plans.fast.bases"]),
        ("peers=[{kind: tea, bases: ['DDIM:8']}]", ["peers[0].kind", "diffusers_first_block"]),
        (
            "peers=[{kind: cache_dit, grid: {treshold: 1}, bases: ['DDIM:8']}]",
            ["peers[0].grid.treshold", "did you mean 'threshold'"],
        ),
        (
            "peers=[{kind: cache_dit, grid: {threshold: [0.1, 2.0]}, bases: ['DDIM:8']}]",
            ["peers[0].grid.threshold", "got 2.0", "less than 1"],
        ),
        ("plans={fats: {bases: ['UniPC:6']}}", ["plans.fats", "did you mean 'fast'"]),
        (
            "plans={a: {plan: {cache: {policy: {kind: list, compute: [0, 6]}}}, "
            "bases: ['UniPC:6']}}",
            ["a, UniPC 6", "got step 6", "below 6"],
        ),
        (
            "plans={a: {plan: {cache: {site: {kind: deep, first: 9}, policy: interval}}, "
            "bases: ['UniPC:6']}}",
            ["a, UniPC 6"],
        ),
        ("timed_images=9", ["timed_images", "got 9", "3 seeds"]),
        ("model=nowhere", ["model", "nowhere"]),
        ("data={prompts: [a]}", ["data.prompts", "labels"]),
        (
            "peers=[{kind: diffusers_first_block, bases: ['DDIM:8']}, "
            "{kind: diffusers_first_block, bases: ['DDIM:8']}]",
            ["two rows are called", "diffusers first-block 0.05, DDIM 8"],
        ),
    ],
)
def test_refusals_name_the_field(
    document: Path, tmp_path: Path, change: str, words: list[str]
) -> None:
    with pytest.raises(DitAccelError) as caught:
        prepare_frontier(load_frontier(document, [change]))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_says_it_in_one_line(document: Path) -> None:
    result = CliRunner().invoke(app, ["frontier", str(document), "--set", "rounds=0"])
    assert result.exit_code == 2
    assert "rounds: got 0" in result.stderr and "Traceback" not in result.output


def test_a_missing_package_is_named(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dit_accel.evaluation.peers import dual_block

    monkeypatch.setattr(dual_block, "PACKAGE", "no_such_package")
    change = "peers=[{kind: cache_dit, grid: {first: 1}, bases: ['DDIM:8']}]"
    with pytest.raises(DitAccelError, match=r"cache-dit is not installed.*pip install cache-dit"):
        prepare_frontier(load_frontier(document, [change]))


def test_an_adapter_is_looked_at_before_a_model_is_loaded(document: Path) -> None:
    changes = ["plans={a: {plan: {adapter: ./none}, bases: ['DDIM:8']}}", "peers=[]"]
    with pytest.raises(DitAccelError, match=r"a, DDIM 8: plan: adapter: got \"./none\""):
        prepare_frontier(load_frontier(document, changes))


def test_the_frontier_of_density_compares_equal_macs() -> None:
    """Its adapters are trained before it can be prepared."""
    from dit_accel.measure.architectures import load_architecture
    from dit_accel.measure.plan_macs import Workload, run_cost

    config = load_frontier(config_folder("eval") / "density_dit_photos.yaml")
    architecture = load_architecture("dit-photos")
    workload = Workload(14, 1, True, architecture.latent_size(None, None))
    recipe = load_config(config_folder("adapt") / "density_dit_photos.yaml")
    shares = {}
    for name in ("sparse_untrained", "pooled_as_much"):
        cost = run_cost(architecture, Plan.load(config.plans[name].plan), workload)
        shares[name] = cost.macs_plan_lower / cost.macs_dense
    assert all(0.5 < share < 0.55 for share in shares.values())
    trained = Plan.load(recipe.plan).density
    for name in ("sparse_untrained", "density_quality", "density_x_balanced"):
        assert Plan.load(config.plans[name].plan).density == trained


SHIPPED = sorted(config_folder("eval").glob("caching_*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_frontiers_can_be_prepared(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dit_accel.evaluation.peers import dual_block

    monkeypatch.setattr(dual_block, "PACKAGE", "json")  # the check only looks for it
    prepared = prepare_frontier(load_frontier(path))
    config = prepared.config
    assert {base.solver: 0 for base in config.dense} == {"DDIM": 0, "DPMSolver++": 0, "UniPC": 0}
    for solver in ("DDIM", "DPMSolver++", "UniPC"):
        steps = [base.num_inference_steps for base in config.dense if base.solver == solver]
        assert len(steps) == 8 and steps[0] == 8 and steps[-1] == 50
    assert (config.selection_seeds.seeds, len(prepared.specs)) == (range(32), 32)
    assert prepared.specs[0].seed == 32
    assert config.converged == Base("UniPC", 100)
    assert {entry.plan.exact for entry in prepared.entries} == {EXACT.exact}
