"""What a chat template must do so that a model is trained and asked in one way; checked without weights.

``check_template`` runs every check on a small trajectory, ahead of each training, evaluation and export;
``backbones verify`` runs them on several trajectories, with pictures of several sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from jepa_vlm.adapters import Adapter, ImageTokens
from jepa_vlm.adapters.chat import answer_turn, chat_text, turn_opening
from jepa_vlm.errors import BackboneError
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.serialization.template import messages_of
from jepa_vlm.trajectories import LazyImage, Step, ToolCall, Trajectory
from jepa_vlm.views import IGNORED, Conversation, Request, TokenizedView, TrajectoryOnly

SIDE = 224  # pixels; ``load_backbone`` has asked for the tokens of such an image already, so that nothing is processed
Written = Sequence[ImageTokens] | None  # of a trajectory's images; None reads them from the images


def check_template(processor: Any, adapter: Adapter, *, calls: int) -> tuple[str, ...]:
    """Check that turns survive the template, that T can be cut out, and that a prompt ends as training opens a turn.

    Args:
        processor: The backbone's; its chat template is checked.
        adapter: Its family.
        calls: Tool calls of the trajectory that is rendered: some templates take one question and one answer alone.

    Returns:
        What does not stand in the way of training, but must be known: blanks in which a prompt differs.

    Raises:
        BackboneError: If one of these does not hold; says what differs and what to do.
    """
    serializer = Serializer(processor=processor, adapter=adapter)
    image = LazyImage(pixels=Image.new("RGB", (SIDE, SIDE)))
    looks = tuple(Step(f"look {i}", ToolCall("crop", {"row": i}), image, "seen" if i else "") for i in range(calls))
    trajectory = Trajectory("probe", (image,), "Which one is red?", (*looks, Step("it is B")), answer="B")
    written = [adapter.image_tokens(processor, SIDE, SIDE)] * (1 + calls)
    for check in (prompts_are_as_trained, turns_survive, trajectory_is_cut_out):
        check(serializer, trajectory, written)
    note = turn_opening(processor).note
    return (note,) if note else ()


def turns_survive(serializer: Serializer, trajectory: Trajectory, written: Written = None) -> None:
    """Check that every R_i is rendered and trained, with a token that ends the last turn, and that Q is not trained."""
    view = _conversation(serializer, trajectory, written)
    trained = _decoded(serializer, view.labels[view.labels != IGNORED])
    for step in trajectory.steps:
        if step.spoken not in trained:
            raise BackboneError(f"The turn {step.spoken!r} is not trained; use a chat template that keeps all turns.")
    if view.labels[view.readouts["turn_end"]] == IGNORED:
        raise BackboneError(
            "No token ends the last turn, so that a model would not learn to stop; give the tokenizer one."
        )
    if trajectory.question in trained:
        raise BackboneError("The question is trained; use a chat template that writes each turn once.")


def trajectory_is_cut_out(serializer: Serializer, trajectory: Trajectory, written: Written = None) -> None:
    """Check that T's text is the rendered conversation without the rendered question, and that positions begin anew."""
    encodings = [Request(view) for view in (Conversation(), TrajectoryOnly())]
    whole, view = serializer.views(trajectory, encodings, written)
    messages = messages_of(trajectory)
    asked = next(number for number, message in enumerate(messages) if message["role"] == "user")
    golden = whole.text[len(chat_text(serializer.processor, messages[: asked + 1])) :]
    if view.text.lstrip() != golden.lstrip():  # a tokenizer may join the space before T with its first word
        raise BackboneError(f"The trajectory, cut out, reads {view.text[:60]!r} and should read {golden[:60]!r}.")
    if (view.positions[:, 0] != whole.positions[:, 0]).any():
        raise BackboneError(f"The positions of the trajectory, cut out, begin at {view.positions[:, 0].tolist()}.")
    if view.images != tuple(range(len(trajectory.images), len(trajectory.all_images))):
        raise BackboneError(f"The trajectory, cut out, shows the images {view.images}.")


def prompts_are_as_trained(serializer: Serializer, trajectory: Trajectory, written: Written = None) -> None:
    """Check that a prompt is what stands ahead of the first trained token, but for blanks that are noted."""
    said = trajectory.steps[-1].spoken
    answers_are_as_trained(serializer, trajectory, (said,), written)
    own = replace(trajectory, steps=trajectory.steps[-1:])
    text = _conversation(serializer, own, None if written is None else written[: len(own.images)]).text
    prompt, opened = chat_text(serializer.processor, messages_of(own)[:-1], prompt=True), text[: text.rindex(said)]
    if prompt.rstrip() != opened.rstrip():
        raise BackboneError(
            f"A prompt with images ends in {prompt[-40:]!r}, training opens a turn with {opened[-40:]!r}."
        )


def answers_are_as_trained(
    serializer: Serializer, trajectory: Trajectory, answers: Sequence[str], written: Written = None
) -> None:
    """Check that what ``answer_turn`` returns, which scoring compares, are the trained tokens of each answer."""
    for said in answers:
        own = replace(trajectory, steps=(Step(said),))
        view = _conversation(serializer, own, None if written is None else written[: len(own.images)])
        trained = view.labels[view.labels != IGNORED].tolist()[:-1]  # without what ends the turn
        compared = answer_turn(serializer.processor, said).ids
        if tuple(trained) != compared:
            shown = [_decoded(serializer, ids) for ids in (trained, compared)]
            raise BackboneError(f"An answer is trained as {shown[0]!r}, and compared as {shown[1]!r}.")


def _decoded(serializer: Serializer, ids: Tensor | Sequence[int]) -> str:
    text: str = serializer.processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return text


def _conversation(serializer: Serializer, trajectory: Trajectory, written: Written) -> TokenizedView:
    (view,) = serializer.views(trajectory, [Request(Conversation())], written)
    return view
