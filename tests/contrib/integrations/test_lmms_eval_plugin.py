from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm.contrib.integrations.lmms_eval_plugin import cut, limits, question
from jepa_vlm.errors import DataError

RED = Image.new("RGB", (32, 32), "red")
IMAGE, WORDS = {"type": "image", "url": RED}, {"type": "text", "text": "what?"}


def turn(*content, role="user"):
    return {"role": role, "content": list(content)}


def test_images_followed_by_words_are_read_as_a_question(tmp_path):
    RED.save(tmp_path / "red.png")
    asked = question([turn(IMAGE, {"type": "image", "url": str(tmp_path / "red.png")}, WORDS)], "vstar/test/7")
    assert (asked.id, asked.prompt) == ("vstar/test/7", "what?")
    assert [image.load().size for image in asked.images] == [(32, 32)] * 2
    assert question([turn(WORDS)], "").images == ()


@pytest.mark.parametrize(
    "messages",
    [
        [turn(WORDS, IMAGE)],
        [turn(IMAGE, {"type": "video", "url": "v.mp4"})],
        [turn(IMAGE, WORDS), turn(WORDS, role="assistant")],
        [turn(WORDS, role="system"), turn(IMAGE, WORDS)],
        [turn({"type": "image", "url": "nowhere.png"}, WORDS)],
    ],
)
def test_other_message_layouts_are_refused_with_their_index(messages):
    with pytest.raises(DataError, match="vstar/test/7"):
        question(messages, "vstar/test/7")


def test_generation_limits_of_a_task_are_applied():
    assert limits({"max_new_tokens": 16, "temperature": 0, "do_sample": False, "until": "\n"}, "") == (16, ("\n",))
    assert limits({"until": ["a", "b"], "temperature": None}, "") == (128, ("a", "b"))


@pytest.mark.parametrize("settings", [{"temperature": 0.7}, {"do_sample": True}, {"num_beams": 4}])
def test_a_task_that_samples_is_refused(settings):
    with pytest.raises(DataError, match="decodes greedily"):
        limits(settings, "t")


def test_an_answer_ends_at_the_first_stop_text():
    assert cut("B\nbecause. ", ("\n", ".")) == "B"
    assert cut("B", ("", "x")) == "B"
