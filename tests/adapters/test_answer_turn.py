"""The tokens that scoring compares are those that training trains, in every family."""

from __future__ import annotations

from functools import lru_cache

import pytest
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.adapters.answer_turn import answer_turn, turn_opening
from jepa_vlm.errors import BackboneError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import IGNORED, Conversation, Request
from tests.factories import families, opens_a_thought

PICTURE = jv.LazyImage(pixels=Image.new("RGB", (56, 56)))


@lru_cache(maxsize=1)
def loaded(name: str) -> jv.Backbone:
    return jv.load_backbone(name)


def trained(backbone: jv.Backbone, said: str) -> list[int]:
    """The trained tokens of a turn, the one that ends it left out."""
    example = jv.Trajectory("turn", (PICTURE,), "Which color has the ring?", (jv.Step(said),), answer=said)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (view,) = serializer.views(example, [Request(Conversation())])
    return view.labels[view.labels != IGNORED].tolist()[:-1]


@pytest.mark.parametrize("name", families())
def test_an_answer_begins_with_the_first_trained_token(name: str) -> None:
    backbone = loaded(name)
    for said in (*"ABCDEZ", "red", "<answer>A</answer>"):
        assert list(answer_turn(backbone.processor, said).ids) == trained(backbone, said)


@pytest.mark.parametrize("name", ["tiny-random-smolvlm", "tiny-random-qwen2.5-vl"])
def test_a_turn_that_begins_with_structure_is_trained_from_where_a_prompt_ends(name: str) -> None:
    """Else a model asked behind "Assistant:" could not know of the blank that stands ahead of its first token."""
    backbone = jv.load_backbone(name, added_tokens=("<|pad|>",))
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    example = jv.Trajectory("turn", (PICTURE,), "Which?", (jv.Step("<|pad|>A"),), answer="A")
    marked = serializer.example(example).conversation(structure=("<|pad|>",))
    opened = marked.input_ids[marked.labels != IGNORED].tolist()[:-1]
    assert list(answer_turn(backbone.processor, "<|pad|>A").ids) == opened
    words = backbone.tokenizer.convert_ids_to_tokens(opened)
    assert words == (["Ġ", "<|pad|>", "A"] if "smolvlm" in name else ["<|pad|>", "A"])


def test_blanks_ahead_of_a_turn() -> None:
    smolvlm, qwen = (loaded(f"tiny-random-{name}").processor for name in ("smolvlm", "qwen2.5-vl"))
    assert (turn_opening(smolvlm).blanks, turn_opening(qwen).blanks) == (" ", "")
    assert smolvlm.tokenizer.convert_ids_to_tokens(list(answer_turn(smolvlm, "A").ids)) == ["ĠA"]


def test_what_a_prompt_holds_already_is_left_out() -> None:
    tokenizer = (processor := loaded("tiny-random-smolvlm").processor).tokenizer
    turn = answer_turn(processor, "<answer>A", prefix="<answer>")
    assert tokenizer.convert_ids_to_tokens(list(turn.behind("<answer>"))) == ["A"]


def test_a_lead_that_the_tokenizer_joins_with_the_letter_is_refused() -> None:
    processor = loaded("tiny-random-smolvlm").processor
    with pytest.raises(BackboneError, match="joins the end of 'so ' with what follows"):
        answer_turn(processor, "so A").behind("so ")
    with pytest.raises(BackboneError, match=r"joins the end of a prompt, .*so .*use the scoring 'free'"):
        answer_turn(processor, "so A", prefix="so ")


def test_a_prompt_that_ends_otherwise_is_refused() -> None:
    processor = jv.load_backbone("tiny-random-qwen2.5-vl").processor
    opens_a_thought(processor)
    said = r"A prompt .* ends in .*<think>\\n', training opens a turn with .*assistant\\n'"
    with pytest.raises(BackboneError, match=said):
        answer_turn(processor, "A")


@pytest.mark.parametrize(("prompt", "turn"), [("\\n", " \\n"), ("\\n\\n", "\\n")])
def test_blanks_that_differ_are_noted_and_letters_are_compared_as_trained(prompt: str, turn: str) -> None:
    """LLaVA-OneVision's template writes "assistant", a new line in a prompt, and a space and a new line in a turn."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    processor, asked = backbone.processor, "{{ '<|im_start|>assistant\\n' }}\n{%- endif"
    for written, wanted in ((asked, prompt), ("message.role + '\\n'", turn)):
        assert written in processor.chat_template
        processor.chat_template = processor.chat_template.replace(written, written.replace("\\n'", f"{wanted}'"))
    opening = turn_opening(processor)
    assert "they differ in blanks" in opening.note
    assert (opening.blanks, opening.fault) == ("", "")
    for said in ("A", "red"):
        assert list(answer_turn(processor, said).ids) == trained(backbone, said)
    assert answer_turn(processor, "<answer>A", prefix="<answer>").behind("<answer>") == answer_turn(processor, "A").ids


def test_a_blank_at_the_end_of_a_prompt_is_refused_where_the_tokenizer_joins_it() -> None:
    processor = jv.load_backbone("tiny-random-smolvlm").processor
    processor.chat_template = processor.chat_template.replace("{{ 'Assistant:' }}", "{{ 'Assistant: ' }}")
    with pytest.raises(BackboneError, match="take the blanks behind the template's generation prompt out"):
        answer_turn(processor, "A")
