"""A check must be able to fail: planted mistakes are found, each by the check that promises the opposite."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.conformance import CHECKS, NotApplicable, Subject, input_checks, model_checks, verify
from jepa_vlm.conformance.check import Check, CheckFailed, run_check
from jepa_vlm.engine import attention, one_pass
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.serialization import template_check
from jepa_vlm.trajectories import LazyImage

BY_NAME = {check.name: check for check in CHECKS}


@pytest.fixture(scope="module")
def gemma():
    return Subject.load("tiny-random-gemma3", torch.float64)


def held(name, subject):
    return run_check(BY_NAME[name], subject)


def test_a_failure_says_what_differs_and_what_it_means():
    def fails(subject):
        raise CheckFailed("3 is not 4")

    def breaks(subject):
        raise KeyError("gone")

    def silent(subject):
        raise NotApplicable("no images")

    def wordless(subject):
        next(iter(()))

    runs = (fails, breaks, silent, lambda subject: "fine", wordless)
    found = [run_check(Check("key", "n", "bad", run), None) for run in runs]
    assert [result.verdict for result in found] == ["fail", "fail", "not applicable", "pass", "fail"]
    assert found[4].detail == "StopIteration"
    assert (found[0].key, found[0].detail, found[0].meaning) == ("key", "3 is not 4", "bad")
    assert "KeyError" in found[1].detail
    assert found[3].meaning == ""


def test_without_its_bidirectional_groups_gemma_is_found_out(gemma, monkeypatch):
    monkeypatch.setattr(type(gemma.backbone.adapter), "bidirectional_groups", Adapter.bidirectional_groups)
    result = held("one_pass equals separate", gemma)
    assert result.verdict == "fail"
    assert "--engine separate" in result.meaning


def test_without_its_window_gemma_is_found_out(gemma, monkeypatch):
    whole = attention.visible
    monkeypatch.setattr(attention, "visible", lambda q, k, blocks, window, device: whole(q, k, blocks, None, device))
    assert held("one_pass equals separate", gemma).verdict == "fail"


def test_positions_off_by_one_are_found_out(gemma, monkeypatch):
    def later(self, image_tokens, images):
        return 2 * torch.arange(len(image_tokens))[None]

    monkeypatch.setattr(type(gemma.backbone.adapter), "positions", later)
    assert held("one_pass equals separate", gemma).verdict == "fail"


@pytest.mark.parametrize("engine", ["one_pass", "separate"])
def test_a_number_that_is_none_is_found_out_wherever_it_stands(gemma, monkeypatch, engine):
    plain = model_checks._numbers

    def broken(model, batches):
        found = plain(model, batches)
        last = list(found)[-1]
        return {**found, last: found[last] * float("nan")} if model.engine.name == engine else found

    monkeypatch.setattr(model_checks, "_numbers", broken)
    result = held("one_pass equals separate", gemma)
    assert result.verdict == "fail"
    assert "nan" in result.detail


def test_rows_that_are_joined_in_another_order_are_found_out(monkeypatch):
    """Where images of two rows change places, as Qwen3-VL's deeper features once did."""
    subject = Subject.load("tiny-random-qwen3-vl", torch.float64)
    plain = one_pass.join

    def shuffled(rows, features):
        row, moves = plain(rows, features)
        return replace(row, image_at=row.image_at.flip(0), image_rows=row.image_rows.flip(0)), moves

    assert held("one_pass equals separate", subject).verdict == "pass"
    monkeypatch.setattr(one_pass, "join", shuffled)
    result = held("one_pass equals separate", subject)
    assert result.verdict == "fail"
    assert "differs by" in result.detail


def test_features_in_another_order_are_found_out(gemma, monkeypatch):
    plain = Adapter.encode_images
    monkeypatch.setattr(type(gemma.backbone.adapter), "encode_images", lambda *given: plain(*given).flip(0))
    assert held("images encoded once equal images per view", gemma).verdict == "fail"


def test_features_without_a_value_are_called_so(gemma, monkeypatch):
    plain = Adapter.encode_images
    monkeypatch.setattr(type(gemma.backbone.adapter), "encode_images", lambda *given: 0 * plain(*given))
    assert "features are all zero" in held("images encoded once equal images per view", gemma).detail


def test_a_head_without_weights_is_called_so(gemma):
    handle = gemma.backbone.base.lm_head.register_forward_hook(lambda module, args, out: 0 * out)
    try:
        assert "logits are all zero" in held("the state is what the head reads", gemma).detail
    finally:
        handle.remove()


def test_gradients_that_are_zero_in_both_engines_differ_by_nothing(gemma):
    zeros = {f"gate {number}": torch.zeros(2) for number in range(3)}
    assert model_checks._largest({"loss": torch.ones(()), **zeros}, {"loss": torch.ones(()), **zeros}, gemma) == 0
    with pytest.raises(CheckFailed, match="gate 1"):
        model_checks._largest({**zeros, "gate 1": torch.ones(2)}, zeros, gemma)


@pytest.mark.parametrize("kind", ["RGBA", "CMYK", "16 bits", "EXIF orientation"])
def test_a_picture_that_becomes_another_is_found_out(gemma, monkeypatch, kind):
    changed = dict(input_checks.files())[kind]
    plain = LazyImage.load

    def load(self):
        return Image.open(io.BytesIO(changed)).convert("RGB") if self.data == changed else plain(self)

    monkeypatch.setattr(LazyImage, "load", load)
    result = held("pixels are the stock processor's", gemma)
    expected = "pass" if kind == "CMYK" else "fail"  # of CMYK Pillow's own conversion is right
    assert result.verdict == expected
    assert kind in result.detail


def test_tokens_that_are_counted_wrongly_are_found_out(gemma, monkeypatch):
    plain = Adapter.image_tokens
    monkeypatch.setattr(
        type(gemma.backbone.adapter),
        "image_tokens",
        lambda *given, **more: replace(one := plain(*given, **more), runs=(*one.runs, 1)),
    )
    assert "tokens are counted, the stock processor writes" in held("pixels are the stock processor's", gemma).detail


def test_a_letter_that_is_compared_by_another_token_is_found_out(gemma, monkeypatch):
    plain = template_check.answer_turn
    monkeypatch.setattr(template_check, "answer_turn", lambda processor, said: plain(processor, said.lower()))
    found = held("letters are compared by trained tokens", gemma)
    assert found.verdict == "fail"
    assert "is trained as 'A', and compared as 'a'" in found.detail


def test_letters_that_begin_with_the_same_token_are_found_out(gemma, monkeypatch):
    monkeypatch.setattr(input_checks, "letter_tokens", lambda backbone, letters: {"A": (5, 6), "B": (5, 7)})
    assert "both begin with" in held("letters are compared by trained tokens", gemma).detail


def test_some_checks_alone_in_their_own_order_each_told_when_it_ends():
    told = []
    results = verify("tiny-random-qwen2.5-vl", only=["tokens", "prompt"], visual_tokens=9, after_each=told.append)
    assert [result.key for result in results] == ["prompt", "tokens"]
    assert tuple(told) == results
    with pytest.raises(UnknownNameError, match=r"No check named 'promt'. Did you mean 'prompt'\?"):
        verify("no such model", only=["promt"])


def test_a_limit_of_visual_tokens_reaches_the_model_and_its_export():
    subject = Subject.load("tiny-random-qwen2.5-vl", torch.float64, 9)
    assert subject.backbone.adapter.image_tokens(subject.backbone.processor, 112, 112).length <= 9
    assert held("an export reloads in stock transformers", subject).verdict == "pass"


def test_too_many_features_are_found_out(gemma, monkeypatch):
    plain = Adapter.encode_images
    monkeypatch.setattr(type(gemma.backbone.adapter), "encode_images", lambda *given: plain(*given).repeat(2, 1))
    assert "features" in held("images encoded once equal images per view", gemma).detail


def test_a_head_that_is_not_the_last_word_is_found_out(gemma):
    handle = gemma.backbone.base.lm_head.register_forward_hook(lambda module, args, out: 2 * out)
    try:
        assert held("the state is what the head reads", gemma).verdict == "fail"
    finally:
        handle.remove()


def test_a_layer_that_lora_leaves_out_is_found_out(gemma, monkeypatch):
    monkeypatch.setattr(type(gemma.backbone.adapter), "projections", ("q_proj", "v_proj"))
    partial = Subject.load("tiny-random-gemma3", torch.float64)
    assert "leaves out 10 linear layers" in held("LoRA lands on the decoder alone", partial).detail


def test_a_base_that_trains_along_is_found_out(gemma):
    weight = gemma.backbone.base.lm_head.weight
    weight.requires_grad_(True)
    try:
        assert "trains as well" in held("LoRA lands on the decoder alone", gemma).detail
    finally:
        weight.requires_grad_(False)


def test_slots_without_gradient_are_found_out(gemma, monkeypatch):
    plain = type(gemma).model

    def frozen(self, engine="separate"):
        model = plain(self, engine)
        for value in model.objective.slot_inputs().values():
            value.register_hook(torch.zeros_like)
        return model

    monkeypatch.setattr(type(gemma), "model", frozen)
    assert "no gradient" in held("[PRED] and the adapter get gradient", gemma).detail


def test_a_hook_that_stays_is_found_out(gemma, monkeypatch):
    tokens = iter([[[1, 2]], [[1, 3]]])
    monkeypatch.setattr(type(gemma), "generate", lambda self, inputs: next(tokens))
    assert "other tokens" in held("generation is unchanged by training hooks", gemma).detail


def test_another_text_is_found_out(gemma, monkeypatch):
    plain = template_check.chat_text
    monkeypatch.setattr(template_check, "chat_text", lambda *given: plain(*given)[:-2])
    assert held("the cut-out trajectory is its golden text", gemma).verdict == "fail"


def test_a_prompt_that_opens_a_thought_is_found_out(gemma, monkeypatch):
    plain = gemma.backbone.processor.chat_template
    monkeypatch.setattr(
        gemma.backbone.processor,
        "chat_template",
        plain.replace("model\\n' }}{%- endif", "model\\n<think>' }}{%- endif"),
    )
    found = held("a prompt ends as training opens a turn", gemma)
    assert found.verdict == "fail"
    assert "<think>" in found.detail
