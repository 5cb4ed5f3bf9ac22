"""Checks of the text: what is trained is what the stock processor makes, and views are cut where they should be."""

from __future__ import annotations

from collections.abc import Callable

import torch

from jepa_vlm.adapters.answer_turn import turn_opening
from jepa_vlm.conformance.result import Failure, NotApplicable
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.letters import letter_tokens, likeliest_letter
from jepa_vlm.serialization import Serializer, template_check
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import Conversation, Request

LETTERS = "ABCD"


def serializer_of(subject: Subject) -> Serializer:
    """Return what makes the views."""
    return Serializer(processor=subject.backbone.processor, adapter=subject.backbone.adapter)


def tokens_are_the_processors(subject: Subject) -> str:
    """The conversation's tokens are those of the stock processor, called with the same text and images."""
    backbone, serializer = subject.backbone, serializer_of(subject)
    if backbone.adapter.template:
        raise NotApplicable("its processor has no template and writes the prompt itself")
    for trajectory in subject.trajectories:
        (view,) = serializer.views(trajectory, [Request(Conversation())])
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
    _each(subject, template_check.turns_survive)
    return f"{sum(len(trajectory.steps) for trajectory in subject.trajectories)} turns"


def trajectory_is_cut_out(subject: Subject) -> str:
    """T's text is the rendered conversation without the rendered question; its positions begin anew."""
    _each(subject, template_check.trajectory_is_cut_out)
    return f"{len(subject.trajectories)} trajectories"


def prompts_are_as_trained(subject: Subject) -> str:
    """A prompt is what stands ahead of the first trained token; blanks that differ are told."""
    _each(subject, template_check.prompts_are_as_trained)
    opening = turn_opening(subject.backbone.processor)
    return opening.note or f"in {opening.prompt[-20:]!r}"


def letters_are_as_trained(subject: Subject) -> str:
    """The token that is compared for an option letter is the first trained one of a turn that begins with it."""
    backbone = subject.backbone
    _each(subject, lambda serializer, one: template_check.answers_are_as_trained(serializer, one, LETTERS))
    tokens = letter_tokens(backbone, LETTERS)
    likeliest_letter(backbone, tokens, torch.zeros(len(backbone.tokenizer)))  # refuses letters that begin alike
    return " ".join(repr(backbone.tokenizer.decode(ids[:1])) for ids in tokens.values())


def _each(subject: Subject, check: Callable[[Serializer, Trajectory], None]) -> None:
    serializer = serializer_of(subject)
    for trajectory in subject.trajectories:
        try:
            check(serializer, trajectory)
        except BackboneError as err:
            raise Failure(f"{trajectory.id!r}: {err}") from None
