"""The text encoder learns what captions say, and stays as it is once it is trained."""

from __future__ import annotations

import torch
from transformers import T5EncoderModel

from dit_accel.training.captions import read_caption
from dit_accel.training.checkpoint import RunLog, load_if_present
from dit_accel.training.config import TextRecipe
from dit_accel.training.text_encoder import TextEncoderStage


def test_the_saved_encoder_is_the_trained_one(finished_text):
    folder = finished_text.output / "text_encoder"
    trained = load_if_present(folder / "checkpoint.pt")["model"]
    saved = T5EncoderModel.from_pretrained(folder / "model").state_dict()
    assert all(torch.equal(value, trained[f"encoder.{name}"]) for name, value in saved.items())
    assert not (folder / "model.partial").exists()


def test_a_trained_encoder_is_not_trained_again(finished_text, accelerator):
    longer = finished_text.text_encoder.loop.model_copy(update={"steps": 9})
    stage = finished_text.text_encoder.model_copy(update={"loop": longer})
    TextEncoderStage(finished_text.model_copy(update={"text_encoder": stage}), accelerator).run()
    assert load_if_present(finished_text.output / "text_encoder" / "checkpoint.pt")["step"] == 4


def test_every_batch_is_another_and_previews_are_none_of_them(finished_text, accelerator):
    stage = TextEncoderStage(finished_text, accelerator)
    first, again, other, preview = (stage._batch(step, 8)[0] for step in (0, 0, 1, -1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, preview)


def test_it_learns_what_captions_say(text_recipe, accelerator):
    text_recipe["text_encoder"] |= {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2}
    text_recipe["text_encoder"]["batch_size"] = 32
    loop = {**text_recipe["text_encoder"]["loop"], "steps": 60, "log_every": 10}
    loop |= {"learning_rate": 5e-3, "checkpoint_every": 60, "preview_every": 60, "decay_steps": 20}
    text_recipe["text_encoder"]["loop"] = loop
    config = TextRecipe(**text_recipe)
    TextEncoderStage(config, accelerator).run()
    records = RunLog(config.output / "text_encoder" / "log.jsonl").read()
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0] / 2
    assert records[-1]["captions_understood"] > 0.3  # 15 photographs alone guess right 1 in 15


def test_targets_are_what_the_texts_say(finished_text, accelerator):
    stage = TextEncoderStage(finished_text, accelerator)
    tokens, mask, targets = stage._batch(3, 40)
    texts = stage.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    mirrored = [read_caption(text).mirrored for text in texts]
    assert targets[3].tolist() == [int(one) for one in mirrored]
    assert {len(set(target.tolist())) > 1 for target in targets} == {True}
    assert (mask.sum(1) > 1).all()
