"""What a published text pipeline is asked for, to be judged by."""

from __future__ import annotations

import torch

from dit_accel.extractors.ref import load_ref
from dit_accel.scoring.prompt_accuracy import judge
from dit_accel.training.captions import PHOTOGRAPHS, Part, read_caption, vocabulary, words
from dit_accel.training.photos import CropSource, load_photos
from dit_accel.training.ref_bank import to_bytes
from dit_accel.training.streams import Stream, training_crops
from dit_accel.training.text_conditioning import description_of
from dit_accel.training.text_samples import GRID_PROMPTS, grid_prompts, held_out, varied_crops


def test_ten_crops_of_a_photograph_show_each_part_once():
    source = CropSource(load_photos(), (0, Stream.HELD_OUT), (0.6, 1.0))
    crops = varied_crops(source, 10)
    described = [description_of(source, index) for index in crops]
    wanted = [(name, part) for name in PHOTOGRAPHS for part in Part]
    assert [(one.photograph, one.part) for one in described] == wanted
    assert {one.mirrored for one in described} == {True, False}
    assert len({one.nearness for one in described}) == 3
    assert len(set(varied_crops(source, 13))) == 13 * 15


def test_prompts_say_what_held_out_crops_show(finished_text):
    more = finished_text.publish.model_copy(update={"samples_per_class": 2})
    config = finished_text.model_copy(update={"publish": more})
    asked, again = held_out(config), held_out(config)
    assert [read_caption(prompt) for prompt in asked.prompts] == asked.descriptions
    assert asked.prompts == again.prompts and torch.equal(asked.pictures, again.pictures)
    assert asked.pictures.shape == (30, 3, 32, 32)
    trained_on = training_crops(config, Stream.LATENTS)
    pixels = trained_on.batch(0, 60, 32)[0]
    assert (asked.pictures[:, None] - pixels[None]).abs().amax((2, 3, 4)).min() > 0


def test_real_crops_are_judged_to_show_what_they_show(finished_text):
    data = finished_text.data.model_copy(update={"crop_size": 128})
    publish = finished_text.publish.model_copy(update={"samples_per_class": 3})
    asked = held_out(finished_text.model_copy(update={"data": data, "publish": publish}))
    extractor = load_ref()
    heads = extractor.heads(extractor(to_bytes(asked.pictures))["features"])
    found = judge(heads, asked.descriptions)
    assert found["photograph"].share > 0.95 and found["mirrored"].share > 0.9
    assert found["part"].share > 0.6


def test_the_grid_shows_many_prompts_that_the_model_knows_every_word_of():
    prompts = grid_prompts()
    assert len(prompts) == len(set(prompts)) >= 24 and len(prompts) % len(GRID_PROMPTS) == 0
    assert {word for prompt in prompts for word in words(prompt)} <= set(vocabulary())
    said = [read_caption(prompt) for prompt in prompts]
    assert all(one.photograph and one.part for one in said)
    assert {one.mirrored for one in said} == {True, False}
    assert len({(one.part, one.mirrored) for one in said}) == len(GRID_PROMPTS)
