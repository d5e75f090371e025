"""What an evaluation's YAML may say, and how it is refused."""

from pathlib import Path

import pytest

from dit_accel.errors import DitAccelError, PlanError
from dit_accel.evaluation.config import load_evaluation
from dit_accel.resources import config_folder


def test_runs_share_what_they_do_not_say(document: Path) -> None:
    evaluation, samples = load_evaluation(document)
    assert list(samples) == ["dense", "cached"]
    assert evaluation.dense == ("dense",)
    assert {sample.num_samples for sample in samples.values()} == {6}
    assert samples["cached"].plan == "balanced"
    folders = [Path(sample.output) for sample in samples.values()]
    assert [folder.name for folder in folders] == ["dense", "cached"]
    assert len({folder.parent for folder in folders}) == 1


def test_assignments_reach_runs_and_shared_keys(document: Path) -> None:
    _, samples = load_evaluation(document, ["num_samples=9", "runs.cached.plan=fast"])
    assert samples["dense"].num_samples == 9
    assert samples["cached"].plan == "fast"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("num_sampels=9", ["num_sampels", "did you mean 'num_samples'"]),
        ("scheduler=DDIM", ["scheduler", "runs.NAME.scheduler"]),
        ("runs.cached.pln=fast", ["runs.cached.pln", "did you mean 'plan'"]),
        ("runs.dense.num_inference_steps=0", ["runs.dense.num_inference_steps", "got 0"]),
        ("baseline=dence", ["baseline", "dence", "did you mean 'dense'"]),
        ("runs={dense: {scheduler: DDIM, num_inference_steps: 4}}", ["runs"]),
        ("runs.a/b={scheduler: DDIM, num_inference_steps: 4}", ["a/b", "rename"]),
        ("batch_size=0", ["batch_size", "got 0"]),
        ("metrics=[]", ["metrics"]),
    ],
)
def test_refusals_name_the_field(document: Path, assignment: str, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        load_evaluation(document, [assignment])
    assert all(word in str(caught.value) for word in words), str(caught.value)


SHIPPED = [
    path
    for path in sorted(config_folder("eval").glob("*.yaml"))
    if not path.stem.startswith(("caching_", "density_"))  # frontiers, and adapters to be trained
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_evaluations_can_be_prepared(path: Path) -> None:
    from dit_accel.evaluation.evaluate import prepare_evaluation

    evaluation = prepare_evaluation(*load_evaluation(path))
    assert len({run.plan.fingerprint for run in evaluation.runs.values()}) > 1


def test_the_scores_of_density_stand_beside_dense_at_their_steps_and_cost() -> None:
    config, samples = load_evaluation(config_folder("eval") / "density_scores_dit_photos.yaml")
    steps = {samples[name].num_inference_steps for name in config.dense}
    for name, sample in samples.items():
        if name not in config.dense:
            assert {sample.num_inference_steps, sample.num_inference_steps * 11 // 20} <= steps


def test_problems_of_a_run_name_it(document: Path) -> None:
    from dit_accel.evaluation.evaluate import prepare_evaluation

    with pytest.raises(DitAccelError, match=r"runs\.cached: .*fst"):
        prepare_evaluation(*load_evaluation(document, ["runs.cached.plan=fst"]))
