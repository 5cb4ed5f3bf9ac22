"""Each check of a template must be able to fail: planted mistakes are found, and a sound template passes."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError
from jepa_vlm.serialization import check_template, serializer, template_check
from jepa_vlm.views import IGNORED
from tests.factories import families, opens_a_thought


@pytest.fixture
def backbone() -> jv.Backbone:
    return jv.load_backbone("tiny-random-qwen2.5-vl")


def changed(backbone: jv.Backbone, old: str, new: str) -> jv.Backbone:
    assert old in backbone.processor.chat_template
    backbone.processor.chat_template = backbone.processor.chat_template.replace(old, new)
    return backbone


@pytest.mark.parametrize("name", families())
def test_the_templates_of_the_families_are_sound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = jv.load_backbone(name)
    monkeypatch.setattr(type(backbone.processor), "__call__", lambda *_, **__: pytest.fail("an image was processed"))
    check_template(backbone.processor, backbone.adapter, calls=2)


def test_blanks_that_differ_are_noted(backbone: jv.Backbone) -> None:
    assert check_template(backbone.processor, backbone.adapter, calls=0) == ()
    changed(backbone, "message.role + '\\n'", "message.role + ' \\n'")
    (note,) = check_template(backbone.processor, backbone.adapter, calls=2)
    assert "they differ in blanks" in note


def test_the_template_check_reports_a_prompt_that_opens_a_thought(backbone: jv.Backbone) -> None:
    opens_a_thought(backbone.processor)
    with pytest.raises(BackboneError, match=r"<think>.*Instruct instead of Thinking"):
        check_template(backbone.processor, backbone.adapter, calls=0)


def test_the_template_check_reports_a_prompt_that_ends_differently_with_images(backbone: jv.Backbone) -> None:
    opened = "{{ '<|im_start|>assistant\\n' }}"
    thought = "{{ '<think>\\n' if messages[0].content[0].type == 'image' else '' }}"
    changed(backbone, f"{opened}\n{{%- endif", f"{opened}{thought}\n{{%- endif")
    with pytest.raises(BackboneError, match=r"A prompt with images ends in .*<think>"):
        check_template(backbone.processor, backbone.adapter, calls=0)


LAST_ALONE = "{%- if message.role != 'assistant' or loop.last -%}"


def test_the_template_check_reports_dropped_turns_where_there_are_calls(backbone: jv.Backbone) -> None:
    changed(backbone, "{%- for message in messages -%}", "{%- for message in messages -%}" + LAST_ALONE)
    changed(backbone, "{{ '<|im_end|>\\n' }}", "{{ '<|im_end|>\\n' }}{%- endif -%}")
    check_template(backbone.processor, backbone.adapter, calls=0)
    with pytest.raises(BackboneError, match="Every turn must survive the chat template"):
        check_template(backbone.processor, backbone.adapter, calls=2)


def test_the_template_check_reports_dropped_images(backbone: jv.Backbone) -> None:
    changed(backbone, "<|image_pad|>", "")
    with pytest.raises(BackboneError, match="wrote 0 image placeholders"):
        check_template(backbone.processor, backbone.adapter, calls=0)


def silent_turn(marked: Any) -> None:
    marked.labels[marked.last_turn] = IGNORED


def silent_end(marked: Any) -> None:
    marked.labels[marked.turn_end] = IGNORED


def trained_question(marked: Any) -> None:
    marked.labels[marked.question_tokens] = marked.input_ids[marked.question_tokens]


@pytest.mark.parametrize(
    ("plant", "check", "said"),
    [
        (silent_turn, template_check.turns_survive, "The turn 'it is B' is not trained"),
        (silent_end, template_check.turns_survive, "would not learn to stop"),
        (trained_question, template_check.turns_survive, "The question is trained"),
        (silent_turn, template_check.prompts_are_as_trained, "is trained as ' is B', and compared as 'it is B'"),
    ],
)
def test_the_template_check_reports_marks_on_other_tokens(
    backbone: jv.Backbone, monkeypatch: pytest.MonkeyPatch, plant: Any, check: Any, said: str
) -> None:
    plain = serializer.mark

    def planted(*given: Any) -> Any:
        marked = plain(*given)
        plant(marked)
        return marked

    monkeypatch.setattr(serializer, "mark", planted)
    image = jv.LazyImage(pixels=Image.new("RGB", (32, 32)))
    example = jv.Trajectory("planted", (image,), "Is it red?", (jv.Step("it is B"),), answer="B")
    with pytest.raises(BackboneError, match=said):
        check(serializer.Serializer(processor=backbone.processor, adapter=backbone.adapter), example)
