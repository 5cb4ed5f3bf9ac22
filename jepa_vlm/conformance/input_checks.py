"""Checks of text and pictures: what is trained is what the stock processor makes, and views are cut correctly."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

from jepa_vlm.adapters.chat import turn_opening
from jepa_vlm.conformance.check import CheckFailed, NotApplicable
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.letters import letter_tokens, likeliest_letter
from jepa_vlm.serialization import Serializer, template_check
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.trajectories.image import ORIENTATION
from jepa_vlm.views import Conversation, Request

LETTERS = "ABCD"
DEEP = "16 bits"


def tokens_are_the_processors(subject: Subject) -> str:
    """The conversation's tokens are those of the stock processor, called with the same text and images."""
    backbone, serializer = subject.backbone, subject.serializer()
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
            raise CheckFailed(f"{trajectory.id!r}: {len(view)} tokens, the stock processor makes {len(stock)} others")
    return f"{len(subject.trajectories)} conversations"


def every_turn_survives(subject: Subject) -> str:
    """Every R_i is in the rendered conversation and is trained, as is a token that ends the last turn."""
    _each(subject, template_check.turns_survive)
    return f"{sum(len(trajectory.steps) for trajectory in subject.trajectories)} turns"


def trajectory_is_cut_out(subject: Subject) -> str:
    """T's text is the rendered conversation without the rendered question; its positions start at the first one."""
    _each(subject, template_check.trajectory_is_cut_out)
    return f"{len(subject.trajectories)} trajectories"


def prompts_are_as_trained(subject: Subject) -> str:
    """A prompt is the text ahead of the first trained token; blanks that differ are reported."""
    _each(subject, template_check.prompts_are_as_trained)
    opening = turn_opening(subject.backbone.processor)
    return opening.note or f"in {opening.prompt[-20:]!r}"


def letters_are_as_trained(subject: Subject) -> str:
    """The token that is compared for an option letter is the first trained one of a turn that begins with it."""
    backbone = subject.backbone
    _each(subject, lambda serializer, one: template_check.answers_are_as_trained(serializer, one, LETTERS))
    tokens = letter_tokens(backbone, LETTERS)
    likeliest_letter(backbone, tokens, torch.zeros(len(backbone.tokenizer)))  # raises where letters begin alike
    return " ".join(repr(backbone.tokenizer.decode(ids[:1])) for ids in tokens.values())


def _each(subject: Subject, check: Callable[[Serializer, Trajectory], None]) -> None:
    serializer = subject.serializer()
    for trajectory in subject.trajectories:
        try:
            check(serializer, trajectory)
        except BackboneError as err:
            raise CheckFailed(f"{trajectory.id!r}: {err}") from None


def pixels_are_the_processors(subject: Subject) -> str:
    """The inputs of the vision tower, and the count of tokens, are those of the stock processor, for each kind of file.

    The stock processor is given the opened picture, turned as its EXIF says. Of 16 bits it is given the upper 8, since
    by itself it clips. A processor that converts nothing (LFM2-VL's reads the indices of a palette as gray) is given
    what the others convert to.
    """
    backbone = subject.backbone
    adapter, processor = backbone.adapter, backbone.processor
    converts = bool(getattr(processor.image_processor, "do_convert_rgb", False))
    compared = []
    for kind, file in files():
        opened = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
        if kind == DEEP:
            opened = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
        if not converts:
            opened = Image.fromarray(np.asarray(convert_to_rgb(opened, return_numpy=True)))
        image = LazyImage(data=file)
        stock = processor(text=[adapter.placeholder(processor)], images=[opened], return_tensors="pt")
        ours = adapter.process_image(processor, image.load())
        for name, value in ours.items():
            wanted = torch.as_tensor(stock[name])
            if value.shape != wanted.shape or not torch.equal(value, wanted):
                raise CheckFailed(f"{kind}: {name} is not the stock processor's")
        written = int((stock["input_ids"] == adapter.feature_id).sum())
        counted = adapter.image_tokens(processor, *image.size).length
        if counted != written:
            raise CheckFailed(f"{kind}: {counted} tokens are counted, the stock processor writes {written}")
        compared.append(kind)
    return ", ".join(compared) + ("" if converts else "; the stock processor by itself converts none of them")


def files() -> Iterator[tuple[str, bytes]]:
    """Yield pictures as files, each with its kind."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    rgb, gray = rgba.convert("RGB"), rgba.convert("LA")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    deep = noise[..., 0].astype(np.uint16) << 8 | noise[..., 1]
    yield "RGBA", _encoded(rgba, "PNG")
    yield "a palette with transparency", _encoded(rgba.quantize(16), "PNG")
    yield "LA", _encoded(gray, "PNG")
    yield "CMYK", _encoded(rgb.convert("CMYK"), "JPEG")
    yield DEEP, _encoded(Image.fromarray(deep), "PNG")
    yield "EXIF orientation", _encoded(rgb, "JPEG", exif=exif)
    yield "a thin picture", _encoded(rgb.crop((0, 0, 2, 40)), "PNG")


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()
