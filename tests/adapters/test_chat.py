"""Chat templates of several kinds: the text of a conversation, and the tokens with which a model answers."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import pytest
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.adapters.chat import answer_turn, chat_text, turn_opening
from jepa_vlm.adapters.tiny.model import chatml
from jepa_vlm.errors import BackboneError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import IGNORED, Conversation, Request
from tests.factories import families, opens_a_thought

LISTS = (
    "{% for m in messages %}{{ m.role }}:{% for p in m.content | selectattr('type', 'equalto', 'text') %}"
    "{{ p.text }}{% endfor %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
AS_THEY_ARE = (
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'user' %}{% for p in m.content %}{{ p.text }}{% endfor %}"
    "{% else %}{{ m.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
ADDED_UP = AS_THEY_ARE.replace("{{ m.content }}", "{{ m.content + '' }}")  # fails on a list
NO_SYSTEM = LISTS.replace("{{ m.role }}:", "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }}:")
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + LISTS
)
TALK = (("system", "be brief"), ("user", "what?"), ("assistant", "it's 'red'\n"))


@pytest.fixture
def processor() -> Any:
    return jv.load_backbone("tiny-random-qwen2-vl").processor


def turns(*said: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]


@pytest.mark.parametrize("template", [LISTS, AS_THEY_ARE, ADDED_UP])
def test_every_turn_of_a_chat_is_written_unchanged(processor: Any, template: str) -> None:
    processor.chat_template = template
    assert chat_text(processor, turns(*TALK)) == "system:be brief;user:what?;assistant:it's 'red'\n;"
    assert chat_text(processor, turns(*TALK[:2]), prompt=True) == "system:be brief;user:what?;assistant:"


def test_a_turn_that_the_template_reads_only_as_a_list_stays_a_list(processor: Any) -> None:
    processor.chat_template = NO_SYSTEM
    assert chat_text(processor, turns(*TALK)) == "user:what?;assistant:it's 'red'\n;"


def test_a_prompt_ends_as_a_turn_begins_and_opens_no_thought(processor: Any, caplog: pytest.LogCaptureFixture) -> None:
    processor.chat_template = chatml("<image>", system=False, thinks=True)
    with caplog.at_level(logging.WARNING):
        prompt, whole = chat_text(processor, turns(TALK[1]), prompt=True), chat_text(processor, turns(*TALK[1:]))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert whole.startswith(prompt)
    assert not caplog.records  # transformers warns of an argument that the template does not know
    assert processor.apply_chat_template(turns(TALK[1]), add_generation_prompt=True).endswith("<think>\n")


def test_a_refused_conversation_is_one_message(processor: Any) -> None:
    processor.chat_template = ALTERNATING
    assert chat_text(processor, turns(*TALK[1:])) == "user:what?;assistant:it's 'red'\n;"
    with pytest.raises(BackboneError, match=r"turns user, assistant, assistant: roles must alternate; use a template"):
        chat_text(processor, turns(*TALK[1:], TALK[2]))


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


def test_blanks_before_a_turn_are_found() -> None:
    smolvlm, qwen = (loaded(f"tiny-random-{name}").processor for name in ("smolvlm", "qwen2.5-vl"))
    assert (turn_opening(smolvlm).blanks, turn_opening(qwen).blanks) == (" ", "")
    assert smolvlm.tokenizer.convert_ids_to_tokens(list(answer_turn(smolvlm, "A").ids)) == ["ĠA"]


def test_text_that_the_prompt_already_holds_is_left_out_of_the_answer() -> None:
    tokenizer = (processor := loaded("tiny-random-smolvlm").processor).tokenizer
    turn = answer_turn(processor, "<answer>A", prefix="<answer>")
    assert tokenizer.convert_ids_to_tokens(list(turn.behind("<answer>"))) == ["A"]


def test_a_response_prefix_that_the_tokenizer_joins_with_the_letter_is_refused() -> None:
    processor = loaded("tiny-random-smolvlm").processor
    with pytest.raises(BackboneError, match="joins the end of 'so ' with what follows"):
        answer_turn(processor, "so A").behind("so ")
    with pytest.raises(BackboneError, match=r"joins the end of a prompt, .*so .*use the scoring 'free'"):
        answer_turn(processor, "so A", prefix="so ")


def test_a_prompt_that_ends_unlike_a_turn_begins_is_refused() -> None:
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
