"""Checks of the text: what is trained is what the stock processor makes, and views are cut where they should be."""

from __future__ import annotations

from jepa_vlm.adapters.chat import chat_text
from jepa_vlm.conformance.result import Failure, NotApplicable
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.serialization import IGNORED, Serializer
from jepa_vlm.serialization.template import messages_of
from jepa_vlm.views import Conversation, Encoding, TrajectoryOnly, with_gradient


def serializer_of(subject: Subject) -> Serializer:
    """Return what makes the views."""
    return Serializer(processor=subject.backbone.processor, adapter=subject.backbone.adapter)


def tokens_are_the_processors(subject: Subject) -> str:
    """The conversation's tokens are those of the stock processor, called with the same text and images."""
    backbone, serializer = subject.backbone, serializer_of(subject)
    if backbone.adapter.template:
        raise NotApplicable("its processor has no template and writes the prompt itself")
    for trajectory in subject.trajectories:
        (view,) = serializer.views(trajectory, [Encoding(Conversation(), with_gradient())])
        images = [image.load() for image in trajectory.all_images]
        bos = backbone.tokenizer.bos_token
        own_bos = bos is not None and view.text.startswith(bos)
        made = backbone.processor(
            text=[view.text], images=[images], add_special_tokens=not own_bos, return_tensors="pt"
        )
        stock = made["input_ids"][0].tolist()
        if stock != view.input_ids.tolist():
            raise Failure(f"{trajectory.id!r}: {len(view)} tokens, the stock processor makes {len(stock)} others")
    return f"{len(subject.trajectories)} conversations"


def every_turn_survives(subject: Subject) -> str:
    """Every R_i is in the rendered conversation and is trained, with a token that ends the last turn."""
    backbone, serializer = subject.backbone, serializer_of(subject)
    turns = 0
    for trajectory in subject.trajectories:
        (view,) = serializer.views(trajectory, [Encoding(Conversation(), with_gradient())])
        trained = backbone.tokenizer.decode(view.labels[view.labels != IGNORED])
        for step in trajectory.steps:
            if step.spoken not in trained:
                raise Failure(f"{trajectory.id!r}: {step.spoken!r} is not trained")
            turns += 1
        if view.labels[view.readouts["turn_end"]] == IGNORED:
            raise Failure(f"{trajectory.id!r}: nothing tells the model to stop")
        if trajectory.question in trained:
            raise Failure(f"{trajectory.id!r}: the question is trained")
    return f"{turns} turns"


def trajectory_is_cut_out(subject: Subject) -> str:
    """T's text is the rendered conversation without the rendered question; its positions begin anew."""
    backbone, serializer = subject.backbone, serializer_of(subject)
    for trajectory in subject.trajectories:
        whole, view = serializer.views(
            trajectory, [Encoding(view, with_gradient()) for view in (Conversation(), TrajectoryOnly())]
        )
        messages = messages_of(trajectory)
        opening = chat_text(backbone.processor, messages[:1])
        golden = whole.text[len(opening) :]
        if view.text.lstrip() != golden.lstrip():  # a tokenizer may join the space before T with its first word
            raise Failure(f"{trajectory.id!r}: T reads {view.text[:60]!r}, should read {golden[:60]!r}")
        if (view.positions[:, 0] != whole.positions[:, 0]).any():
            raise Failure(f"{trajectory.id!r}: T's positions begin at {view.positions[:, 0].tolist()}")
        if view.images != tuple(range(len(trajectory.images), len(trajectory.all_images))):
            raise Failure(f"{trajectory.id!r}: T shows images {view.images}")
    return f"{len(subject.trajectories)} trajectories"


def prompts_are_as_trained(subject: Subject) -> str:
    """A prompt ends as a conversation opens the model's turn, blanks aside."""
    processor, serializer = subject.backbone.processor, serializer_of(subject)
    trajectory = next(trajectory for trajectory in subject.trajectories if len(trajectory.steps) == 1)
    (view,) = serializer.views(trajectory, [Encoding(Conversation(), with_gradient())])
    shown = view.text[: view.text.rindex(trajectory.steps[0].spoken)]
    prompt = chat_text(processor, messages_of(trajectory)[:1], prompt=True)
    if shown.rstrip() != prompt.rstrip():
        raise Failure(f"a prompt ends in {prompt[-40:]!r}, training opens the turn with {shown[-40:]!r}")
    return f"in {prompt[-20:]!r}"
