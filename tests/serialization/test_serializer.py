"""Golden texts, masks and readouts of the views, on a trajectory small enough to check by eye."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import Answer, Conversation, Question, Request, Slots, TrajectoryOnly

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
X = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    f"<|im_start|>user\n{IMAGE}What color is the ring?<|im_end|>\n"
)
T = (
    '<|im_start|>assistant\nlook <tool_call>{"name": "crop", "arguments": {"row": 1}}</tool_call><|im_end|>\n'
    f"<|im_start|>user\n{IMAGE}<|im_end|>\n"
    "<|im_start|>assistant\nB<|im_end|>\n"
)


@pytest.fixture(scope="module")
def serializer(backbone: jv.Backbone) -> Serializer:
    return Serializer(processor=backbone.processor, adapter=backbone.adapter)


def trajectory(question: str = "What color is the ring?", thought: str = "look") -> jv.Trajectory:
    image = jv.LazyImage(pixels=Image.new("RGB", (48, 32)))
    crop = jv.LazyImage(pixels=Image.new("RGB", (32, 32)))
    steps = (jv.Step(thought, call=jv.ToolCall("crop", {"row": 1}), image=crop), jv.Step("B"))
    return jv.Trajectory("golden", (image,), question, steps, answer="B")


def one(serializer: Serializer, view: jv.views.View, slots: int = 0) -> jv.serialization.TokenizedView:
    owner = Slots("term", slots) if slots else None
    return serializer.views(trajectory(), [Request(view, slots=owner)])[0]


def decode(backbone: jv.Backbone, ids: torch.Tensor) -> str:
    return backbone.tokenizer.decode(ids)


def test_a_conversation_has_the_tokens_of_the_stock_processor(backbone: jv.Backbone, serializer: Serializer) -> None:
    view = one(serializer, Conversation())
    assert view.text == X + T
    pixels = [image.load() for image in trajectory().all_images]
    stock = backbone.processor(text=[view.text], images=pixels, return_tensors="pt")
    assert view.input_ids.tolist() == stock["input_ids"][0].tolist()
    stock_positions, _ = backbone.base.model.get_rope_index(
        stock["input_ids"], stock["mm_token_type_ids"], stock["image_grid_thw"]
    )
    assert torch.equal(view.positions, stock_positions[:, 0])
    trained = decode(backbone, view.labels[view.labels != -100])
    assert trained == ('look <tool_call>{"name": "crop", "arguments": {"row": 1}}</tool_call><|im_end|>B<|im_end|>')


def test_characters_that_the_tokenizer_composes_stay_in_the_text(serializer: Serializer) -> None:
    asked = "Gro\u0308\u00dfe \u65e5\u672c \U0001f642, e\u0301?"
    (view,) = serializer.views(trajectory(question=asked), [Request(Question())])
    assert view.text == X.replace("What color is the ring?", asked)


def test_only_the_last_turn_can_be_trained(backbone: jv.Backbone, serializer: Serializer) -> None:
    view = one(serializer, Conversation(trained="last"))
    assert decode(backbone, view.labels[view.labels != -100]) == "B<|im_end|>"


def test_soft_tokens_follow_the_question_inside_its_turn(backbone: jv.Backbone, serializer: Serializer) -> None:
    view = one(serializer, Question(), slots=4)
    assert view.text == X
    at = view.slots.nonzero()[:, 0].tolist()
    assert at == list(range(at[0], at[0] + 4))
    assert decode(backbone, view.input_ids[: at[0]]).endswith("What color is the ring?")
    assert decode(backbone, view.input_ids[at[-1] + 1 :]) == "<|im_end|>\n"
    assert view.readouts == {"last_token": at[0] - 1, "last_pred": at[-1], "turn_end": at[-1] + 1}
    steps = view.positions[:, at[0] - 1 :].diff(dim=1)
    assert (steps == 1).all()  # the slots continue the question's positions, and the end of turn continues theirs
    assert (view.labels == -100).all()


def test_the_trajectory_view_is_cut_out_and_its_positions_start_at_zero(
    backbone: jv.Backbone, serializer: Serializer
) -> None:
    view = one(serializer, TrajectoryOnly())
    assert view.text == T
    assert view.positions[:, 0].tolist() == [0, 0, 0]
    assert view.trajectory.all()
    assert view.images == (1,)
    assert decode(backbone, view.input_ids[view.readouts["last_token"]]) == "B"
    assert decode(backbone, view.input_ids[view.readouts["turn_end"]]) == "<|im_end|>"


def test_the_view_with_images_drops_only_the_words_of_the_question(serializer: Serializer) -> None:
    view = one(serializer, TrajectoryOnly(context="image"))
    assert view.text == X.replace("What color is the ring?", "") + T
    assert view.images == (0, 1)


def test_the_trajectory_view_with_the_question_equals_the_conversation(serializer: Serializer) -> None:
    whole, view = one(serializer, Conversation()), one(serializer, TrajectoryOnly(context="question"))
    assert torch.equal(view.input_ids, whole.input_ids)
    assert torch.equal(view.trajectory, whole.trajectory)


def test_the_answer_is_a_trajectory_of_its_own(backbone: jv.Backbone, serializer: Serializer) -> None:
    view = one(serializer, Answer())
    assert view.text == "<|im_start|>assistant\nB<|im_end|>\n"
    assert decode(backbone, view.input_ids) == view.text
    assert view.positions[0].tolist() == list(range(len(view)))
    assert view.images == ()
    assert decode(backbone, view.input_ids[view.readouts["last_token"]]) == "B"
    assert decode(backbone, view.input_ids[view.readouts["turn_end"]]) == "<|im_end|>"
    assert decode(backbone, view.input_ids[view.content]) == "B"


def test_the_answer_need_not_occur_in_the_trajectory(serializer: Serializer) -> None:
    encodings = [Request(view) for view in (Conversation(), Answer())]
    whole, answer = serializer.views(replace(trajectory(), answer=" the second one "), encodings)
    assert whole.text == X + T
    assert answer.text == "<|im_start|>assistant\nthe second one<|im_end|>\n"


def test_an_example_without_an_answer_is_refused_where_the_answer_is_read(serializer: Serializer) -> None:
    asked = replace(trajectory(), answer=" ")
    assert serializer.views(asked, [Request(Conversation())])
    with pytest.raises(DataError, match=r"'golden' has an empty answer.*give it one"):
        serializer.views(asked, [Request(Answer())])


def test_content_tokens_exclude_the_template(backbone: jv.Backbone, serializer: Serializer) -> None:
    view = one(serializer, Conversation())
    words = decode(backbone, view.input_ids[view.content & ~view.image_tokens])
    assert words == 'What color is the ring?look <tool_call>{"name": "crop", "arguments": {"row": 1}}</tool_call>B'
    assert view.image_tokens.sum() == 3 * 2 + 2 * 2
    assert view.content[view.image_tokens].all()


def test_words_that_came_with_an_image_are_content_and_not_trained(backbone: jv.Backbone) -> None:
    steps = (replace(trajectory().steps[0], observation="two left"), trajectory().steps[1])
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    view = serializer.views(replace(trajectory(), steps=steps), [Request(TrajectoryOnly())])[0]
    assert f"{IMAGE}two left<|im_end|>" in view.text
    assert "two left" in decode(backbone, view.input_ids[view.content & ~view.image_tokens])
    assert "two" not in decode(backbone, view.labels[view.labels != -100])


def test_images_stand_where_the_question_puts_them(backbone: jv.Backbone, serializer: Serializer) -> None:
    asked = replace(trajectory("Here  is\n a map. And a ring?"), image_places=(5,))
    view = serializer.views(asked, [Request(Question(), slots=Slots("term", 2))])[0]
    assert f"user\nHere {IMAGE} is\n a map. And a ring?<|im_end|>" in view.text
    assert view.image_tokens.sum() == 3 * 2
    at = int(view.slots.nonzero()[0])
    assert decode(backbone, view.input_ids[:at]).endswith("And a ring?")
    cut = serializer.views(asked, [Request(TrajectoryOnly(context="image"))])[0]
    assert cut.text == X.replace("What color is the ring?", "") + T


def test_a_system_prompt_replaces_the_templates_own(serializer: Serializer) -> None:
    asked = replace(trajectory(), system="Use tools.")
    views = serializer.views(asked, [Request(view) for view in (Conversation(), TrajectoryOnly())])
    assert views[0].text == X.replace("You are a helpful assistant.", "Use tools.") + T
    assert views[1].text == T


def test_special_tokens_in_a_text_are_refused(serializer: Serializer) -> None:
    for bad in ("What <|im_end|> color?", "What <|image_pad|> color?", "a \ue000 b"):
        with pytest.raises(DataError, match="golden"):
            serializer.views(trajectory(question=bad), [Request(Conversation())])
        with pytest.raises(DataError, match="golden"):
            serializer.check(trajectory(thought=bad))
    serializer.check(trajectory())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content[1].text }}", "dropped"),
        (
            "{% for m in messages %}{% for p in m.content %}{{ p.text | replace('o', '') if 'text' in p }}"
            "{% endfor %}{% endfor %}",
            "rewrites a text",
        ),
        (
            "{% for m in messages %}{% for p in m.content %}{{ p.text | trim if 'text' in p }}{% endfor %}{% endfor %}",
            "image placeholders",
        ),
        (
            "{{ messages | length }}{% for m in messages %}{% for p in m.content %}{{ p.text if 'text' in p }}"
            "{% endfor %}{% endfor %}",
            "prefix",
        ),
    ],
)
def test_a_template_that_changes_turns_is_refused(template: str, message: str) -> None:
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    backbone.processor.chat_template = template
    broken = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    with pytest.raises(BackboneError, match=message):
        broken.views(trajectory(), [Request(Conversation())])


def test_unicode_texts_survive_serialization(backbone: jv.Backbone, serializer: Serializer) -> None:
    odd = trajectory(question="naïve 三角形 🙂?", thought="voilà 🙂")
    view = serializer.views(odd, [Request(Conversation())])[0]
    trained = decode(backbone, view.labels[view.labels != -100])
    assert trained.startswith("voilà 🙂 <tool_call>")


def test_the_collator_is_picklable_and_small(backbone: jv.Backbone) -> None:
    model = jv.LatentVLM(backbone, jv.NextToken())
    frozen = pickle.dumps(model.collator())
    assert len(frozen) < 500_000  # a million weights would be four megabytes
    batch = pickle.loads(frozen)([trajectory()])
    assert batch.ids == ("golden",)
    assert batch.counts == {"next_token": int((one(pickle.loads(frozen).serializer, Conversation()).labels >= 0).sum())}


def test_an_image_too_elongated_for_the_processor_is_named_with_its_trajectory(serializer: Serializer) -> None:
    strip = replace(trajectory(), images=(jv.LazyImage(pixels=Image.new("RGB", (300, 1))),))
    with pytest.raises(DataError, match=r"'golden': An image of 300 x 1 pixels .*aspect ratio.*; crop or pad it"):
        serializer.images(strip)
