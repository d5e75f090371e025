from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dit_accel.runs import RunFolder, RunFolderError, folder

IDENTITY = {"num_samples": 10, "model": "dit", "plan": {"cache": {"interval": 2}, "name": "fast"}}
FORK = multiprocessing.get_context("fork")


def begin(path: Path, identity: dict = IDENTITY, block_size: int = 4, **settings: object):
    return RunFolder.create_or_resume(
        path,
        identity=identity,
        settings=settings,
        environment={"torch": "2"},
        block_size=block_size,
    )


def test_a_new_folder_says_what_it_holds(tmp_path):
    run = begin(tmp_path / "a" / "run", batch_size=8)
    document = yaml.safe_load((run.path / "config.yaml").read_text())
    assert document["identity"] == IDENTITY
    assert document["settings"] == {"batch_size": 8}
    assert document["layout"] == {"format": "png", "block_size": 4}
    assert document["fingerprint"] == run.fingerprint
    assert run.environment.read_text() == '{\n  "torch": "2"\n}\n'
    assert run.notices == []


def test_blocks_cover_every_index_once(tmp_path):
    assert begin(tmp_path).blocks() == [range(0, 4), range(4, 8), range(8, 10)]


def test_the_same_identity_goes_on_with_other_settings(tmp_path):
    first = begin(tmp_path, batch_size=8)
    again = begin(tmp_path, {key: IDENTITY[key] for key in reversed(IDENTITY)}, batch_size=2)
    assert again.fingerprint == first.fingerprint
    assert again.settings == {"batch_size": 2}
    assert RunFolder.read(tmp_path).settings == {"batch_size": 8}
    assert RunFolder.read(tmp_path).identity == IDENTITY


def test_other_ranks_do_not_wait_while_leftovers_are_looked_for(tmp_path, monkeypatch):
    begin(tmp_path / "run")

    def look(path: Path) -> int:
        with FileLock(path / ".lock", timeout=0):  # raises if somebody holds it
            return 2

    monkeypatch.setattr(folder, "remove_abandoned", look)
    assert begin(tmp_path / "run").notices == ["removed 2 unfinished files of killed processes"]


def test_the_first_block_size_stays(tmp_path):
    begin(tmp_path, block_size=4)
    assert begin(tmp_path, block_size=3).block_size == 4


def test_another_identity_is_refused_with_every_difference(tmp_path):
    begin(tmp_path)
    other = {"num_samples": 10, "plan": {"cache": {"interval": 3}, "name": "fast"}, "seed": 1}
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(RunFolderError) as caught:
        begin(tmp_path, other)
    assert str(caught.value).splitlines()[1:] == [
        '  model: "dit" → (absent)',
        "  plan.cache.interval: 2 → 3",
        "  seed: (absent) → 1",
        "give another output folder, or the old values, to go on",
    ]
    assert (tmp_path / "config.yaml").read_bytes() == before


def test_one_and_true_are_not_the_same(tmp_path):
    begin(tmp_path, {"num_samples": 1, "x": 1})
    with pytest.raises(RunFolderError, match="x: 1 → true"):
        begin(tmp_path, {"num_samples": 1, "x": True})


def test_a_set_may_grow(tmp_path):
    old = begin(tmp_path, batch_size=8)
    grown = begin(tmp_path, {**IDENTITY, "num_samples": 20}, batch_size=2)
    assert grown.num_samples == 20
    assert grown.notices == ["the set grows from 10 to 20 images; those there are kept"]
    read = RunFolder.read(tmp_path)
    assert (read.num_samples, read.settings) == (20, {"batch_size": 8})
    assert read.fingerprint == grown.fingerprint != old.fingerprint
    assert begin(tmp_path, {**IDENTITY, "num_samples": 20}).notices == []


def test_a_set_may_not_shrink_nor_grow_into_another(tmp_path):
    begin(tmp_path)
    with pytest.raises(RunFolderError, match=r"num_samples: 10 → 9\n\(num_samples may grow"):
        begin(tmp_path, {**IDENTITY, "num_samples": 9})
    with pytest.raises(RunFolderError, match=r"num_samples: 10 → 20\n  model"):
        begin(tmp_path, {**IDENTITY, "num_samples": 20, "model": "other"})


def test_the_format_stays(tmp_path):
    begin(tmp_path, format="npz")
    with pytest.raises(RunFolderError, match="format: npz → png"):
        begin(tmp_path, format="png")


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(RunFolderError, match=r"holiday\.jpg.*new or an empty output folder"):
        begin(tmp_path)
    assert not (tmp_path / "config.yaml").exists()


def test_hidden_files_make_a_folder_nobodys(tmp_path):
    (tmp_path / ".DS_Store").touch()
    assert begin(tmp_path).num_samples == 10


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(RunFolderError, match="cannot write"):
        begin(tmp_path / "run")


@pytest.mark.parametrize(
    ("identity", "block_size", "told", "text"),
    [
        ({}, 4, {}, "num_samples: got null, expected a positive integer"),
        ({"num_samples": 0}, 4, {}, "num_samples: got 0"),
        ({"num_samples": True}, 4, {}, "num_samples: got true"),
        ({"num_samples": 1}, 0, {}, "block_size: got 0"),
        ({"num_samples": 1}, 4, {"format": "jpeg"}, 'format: got "jpeg", expected one of png, npz'),
        ({"num_samples": 1, "x": object}, 4, {}, "identity: .* not JSON serializable"),
        ({"num_samples": 1, "x": float("nan")}, 4, {}, "identity: .*give texts, finite numbers"),
    ],
)
def test_what_cannot_be_a_set_is_refused(tmp_path, identity, block_size, told, text):
    with pytest.raises(RunFolderError, match=text):
        begin(tmp_path / "run", identity, block_size, **told)
    assert not (tmp_path / "run").exists()


def test_a_damaged_configuration_is_told_wherever_it_is_cut_off(tmp_path):
    begin(tmp_path)
    config = tmp_path / "config.yaml"
    whole = config.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        config.write_bytes(whole[:length])
        with pytest.raises(RunFolderError, match=r"config\.yaml"):
            RunFolder.read(tmp_path)
        with pytest.raises(RunFolderError, match=r"config\.yaml"):
            begin(tmp_path)
        assert config.read_bytes() == whole[:length]


def test_an_edited_configuration_is_told(tmp_path):
    begin(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("interval: 2", "interval: 3"))
    with pytest.raises(RunFolderError, match="was edited"):
        RunFolder.read(tmp_path)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.read(tmp_path)
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.read(tmp_path / "absent")


def test_another_environment_is_kept_beside_the_first(tmp_path):
    def launch(version: str) -> RunFolder:
        return RunFolder.create_or_resume(
            tmp_path,
            identity=IDENTITY,
            settings={},
            environment={"torch": version, "gpu": {"name": "H200"}},
            block_size=4,
        )

    launch("2.6")
    assert launch("2.6").notices == []
    for _ in range(2):
        (notice,) = launch("2.7").notices
        assert "(torch differ)" in notice
    assert len(list(tmp_path.glob("environment-*.json"))) == 1
    assert '"2.6"' in (tmp_path / "environment.json").read_text()


def _launch(path: Path, model: str, answers: multiprocessing.SimpleQueue) -> None:
    try:
        begin(path, {**IDENTITY, "model": model})
        answers.put(model)
    except RunFolderError:
        answers.put("refused")


def test_of_many_ranks_at_once_the_first_decides(tmp_path, start_process):
    answers = FORK.SimpleQueue()
    models = ["one", "two"] * 4
    for process in [start_process(_launch, tmp_path / "run", m, answers) for m in models]:
        process.join()
    got = sorted(answers.get() for _ in models)
    assert got == sorted([RunFolder.read(tmp_path / "run").identity["model"], "refused"] * 4)
    assert not [name for name in os.listdir(tmp_path / "run") if name.endswith(".tmp")]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(identity=st.dictionaries(st.text(), values, max_size=4))
def test_every_identity_comes_back_from_the_disk(tmp_path_factory, identity):
    identity = {**identity, "num_samples": 3}
    path = tmp_path_factory.mktemp("identity")
    assert begin(path, identity).fingerprint == RunFolder.read(path).fingerprint
    assert RunFolder.read(path).identity == identity
    begin(path, identity)


@pytest.mark.parametrize("value", ["1e5", "1e-3", "on", "null", "2020-01-01", "0x10", "1:30", "~"])
def test_texts_that_yaml_could_take_for_something_else_stay_texts(tmp_path, value):
    begin(tmp_path, {"num_samples": 1, "x": value})
    assert RunFolder.read(tmp_path).identity["x"] == value
    begin(tmp_path, {"num_samples": 1, "x": value})


def test_a_tuple_is_a_list(tmp_path):
    begin(tmp_path, {"num_samples": 1, "x": (1, 2)})
    assert begin(tmp_path, {"num_samples": 1, "x": [1, 2]}).identity["x"] == [1, 2]
