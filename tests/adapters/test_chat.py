"""Templates of public habits: what reaches the text, whatever form of a turn they take."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import jepa_vlm as jv
from jepa_vlm.adapters.chat import chat_text
from jepa_vlm.adapters.tiny.model import chatml
from jepa_vlm.errors import BackboneError

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
def test_every_turn_is_written_as_it_is_said(processor: Any, template: str) -> None:
    processor.chat_template = template
    assert chat_text(processor, turns(*TALK)) == "system:be brief;user:what?;assistant:it's 'red'\n;"
    assert chat_text(processor, turns(*TALK[:2]), prompt=True) == "system:be brief;user:what?;assistant:"


def test_a_turn_that_no_form_brings_into_the_text_stays_a_list(processor: Any) -> None:
    processor.chat_template = NO_SYSTEM
    assert chat_text(processor, turns(*TALK)) == "user:what?;assistant:it's 'red'\n;"


def test_a_thought_is_not_opened_and_the_prompt_ends_as_a_turn_begins(
    processor: Any, caplog: pytest.LogCaptureFixture
) -> None:
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
