"""Where an adapter is looked for; the Hub is a stand-in here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dit_accel import Plan, PlanError
from dit_accel.adapters import hub, load_adapter, save_adapter, source
from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.record import AdapterRecord


def some_adapter() -> Adapter:
    record = AdapterRecord(
        plan={"density": {"kind": "pooled", "pool": 2}},
        base="PixArt-alpha/PixArt-XL-2-512x512",
        model="m",
        weights=(1.0,),
        trains="lora",
        steps=1,
    )
    return Adapter(record, {"base.a": torch.zeros(2)})


def test_a_hub_id_is_downloaded_by_the_name_of_the_file(tmp_path, monkeypatch):
    path = save_adapter(some_adapter(), tmp_path)
    asked: list[Any] = []

    def download(name: str, file: str, revision: str | None) -> str:
        asked.append((name, file, revision))
        return str(path)

    monkeypatch.setattr(source, "hf_hub_download", download)
    assert load_adapter("someone/density").record == some_adapter().record
    assert load_adapter("someone/density@v2").record == some_adapter().record
    assert asked == [
        ("someone/density", "adapter.safetensors", None),
        ("someone/density", "adapter.safetensors", "v2"),
    ]


def test_what_is_nowhere_is_refused(monkeypatch, tmp_path):
    def fails(*args: Any, **kwargs: Any) -> str:
        raise OSError("no network\nat all")

    monkeypatch.setattr(source, "hf_hub_download", fails)
    with pytest.raises(PlanError, match=r"got \"someone/none\".*the Hub did not give it.*network"):
        load_adapter("someone/none")
    with pytest.raises(PlanError, match=r"adapter: got .*a folder with adapter.safetensors"):
        load_adapter(str(tmp_path / "missing" / "a"))


def test_shipped_ones_go_by_model_and_name(tmp_path, monkeypatch):
    save_adapter(some_adapter(), tmp_path / "shipped" / "dit-photos" / "adapters" / "density")
    monkeypatch.setattr(source, "reference_model_folder", lambda name: tmp_path / "shipped" / name)
    assert load_adapter("dit-photos/density").record == some_adapter().record
    monkeypatch.setattr(source, "hf_hub_download", lambda *args, **kwargs: pytest.fail("asked"))
    with pytest.raises(PlanError, match=r"adapter: got \"dit-photos/other\".*a shipped one"):
        load_adapter("dit-photos/other")


def test_other_files_are_refused(tmp_path: Path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(PlanError, match=r"no dit_accel.adapter in its header"):
        load_adapter(tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(PlanError, match="cannot be read as an adapter"):
        load_adapter(tmp_path / "broken.safetensors")


def test_a_plan_names_it_from_its_own_folder(tmp_path, monkeypatch):
    save_adapter(some_adapter(), tmp_path / "a")
    plan = tmp_path / "plan.yaml"
    plan.write_text("density: {kind: pooled, pool: 2}\nadapter: a\n")
    monkeypatch.chdir("/")
    loaded = Plan.load(plan)
    assert loaded.adapter == str(tmp_path / "a")
    assert Plan.load(loaded.to_dict()) == loaded
    assert loaded.fingerprint != Plan.load({"density": {"kind": "pooled", "pool": 2}}).fingerprint
    assert not Plan(adapter="x").is_empty


@pytest.fixture
def uploads(monkeypatch) -> dict[str, Any]:
    """What a stand-in for the Hub was asked for last."""
    calls: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            calls["token"] = token

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            calls["repo"] = (repo_id, private, exist_ok)

        def upload_folder(self, repo_id: str, folder_path: Path) -> str:
            calls["files"] = sorted(path.name for path in folder_path.iterdir())
            calls["card"] = (folder_path / "README.md").read_text()
            return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(hub, "HfApi", Api)
    return calls


def test_an_adapter_in_memory_is_uploaded_with_its_plan_and_a_card(uploads):
    address = hub.push_to_hub(some_adapter(), "me/density", private=True, token="t")
    assert address == "https://huggingface.co/me/density"
    assert uploads["repo"] == ("me/density", True, True) and uploads["token"] == "t"
    assert uploads["files"] == ["README.md", "adapter.safetensors", "plan.yaml"]
    assert "base_model: PixArt-alpha/PixArt-XL-2-512x512" in uploads["card"]
    assert '"adapter": "me/density"' in uploads["card"]


def test_a_folder_is_uploaded_as_it_is_and_an_edited_card_stays(tmp_path, uploads):
    save_adapter(some_adapter(), tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text() + "![curves](curves.png)\n")
    (tmp_path / "curves.png").write_bytes(b"")
    hub.push_to_hub(tmp_path, "me/density")
    assert uploads["files"] == ["README.md", "adapter.safetensors", "curves.png", "plan.yaml"]
    assert uploads["card"].endswith("curves.png)\n")
    save_adapter(some_adapter(), tmp_path)  # as a training that goes on would
    assert card.read_text() == uploads["card"]
    with pytest.raises(PlanError, match="expected a file, a folder"):
        hub.push_to_hub(tmp_path / "curves", "me/density")


def test_a_card_that_nobody_edited_is_written_anew(tmp_path):
    save_adapter(some_adapter(), tmp_path)
    record = some_adapter().record.model_copy(update={"steps": 1234})
    save_adapter(Adapter(record, some_adapter().tensors), tmp_path)
    assert "1234 steps" in (tmp_path / "README.md").read_text()


def test_the_example_of_the_card_runs(tmp_path):
    from saved_pipelines import save_tiny_dit

    from dit_accel.calibration_record import model_hash
    from dit_accel.measure.architectures import load_architecture
    from dit_accel.reference_models import find

    name = "transformer_blocks.0.norm1.linear.bias"
    for base, folder in (
        (str(save_tiny_dit(tmp_path / "model")), tmp_path / "model"),
        ("dit-photos", find("dit-photos")),
    ):
        transformer = load_architecture(str(folder)).build("meta")
        changes = {"base": base, "model": model_hash(transformer), "weights": ()}
        tensors = {f"base.{name}": torch.zeros(transformer.get_parameter(name).shape)}
        adapter = Adapter(some_adapter().record.model_copy(update=changes), tensors)
        save_adapter(adapter, tmp_path / "a", source=str(tmp_path / "a"))
        card = (tmp_path / "a" / "README.md").read_text()
        exec(card.partition("```python\n")[2].partition("```")[0], {})


def test_a_set_of_samples_knows_which_file_it_was_made_with(tmp_path):
    from saved_pipelines import save_tiny_dit

    from dit_accel.calibration_record import model_hash
    from dit_accel.measure.architectures import load_architecture
    from dit_accel.sampling.preparing import prepare_sampling
    from dit_accel.sampling.sample_config import DataConfig, SampleConfig

    model = save_tiny_dit(tmp_path / "model")
    config = SampleConfig(
        model=str(model),
        plan=str(tmp_path / "a"),
        num_samples=1,
        num_inference_steps=2,
        data=DataConfig(labels="uniform"),
    )
    found = model_hash(load_architecture(str(model)).build("meta"))
    name = "transformer_blocks.0.norm1.linear.bias"
    seen = []
    for value in (0.0, 1.0):
        record = some_adapter().record.model_copy(update={"model": found})
        save_adapter(Adapter(record, {f"base.{name}": torch.full((192,), value)}), tmp_path / "a")
        seen.append(prepare_sampling(config).identity["adapter"])
    assert seen[0] != seen[1]
    save_adapter(some_adapter(), tmp_path / "a")
    with pytest.raises(PlanError, match="trained on PixArt-alpha"):
        prepare_sampling(config)
