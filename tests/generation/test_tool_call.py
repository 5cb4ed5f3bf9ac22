from __future__ import annotations

import pytest

from jepa_vlm.generation.image_tools import ToolError
from jepa_vlm.generation.tool_loop import ends_with_call, last_call


def test_the_last_of_several_calls_counts():
    first = '<tool_call>{"name": "a", "arguments": {}}</tool_call>'
    text = first + ' no <tool_call>\n{"name": "b", "arguments": {"x": 1}}\n</tool_call>\n'
    assert ends_with_call(text)
    assert last_call(text) == ("b", {"x": 1})


@pytest.mark.parametrize(
    "text", ["", "B", '<tool_call>{"name": "a", "arguments": {}}', "<tool_call>{}</tool_call> so B"]
)
def test_a_turn_without_a_call_at_its_end(text):
    assert not ends_with_call(text)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("crop(1)", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "must be {"),
        ('{"name": "a"}', "must be {"),
        ('{"name": 1, "arguments": {}}', "must be {"),
        ('{"name": "a", "arguments": "x"}', "must be {"),
        ("9" * 5000, "not valid JSON"),
        ("__import__('os').system('true')", "not valid JSON"),
    ],
)
def test_what_is_no_call(written, message):
    with pytest.raises(ToolError, match=message):
        last_call(f"<tool_call>{written}</tool_call>")
