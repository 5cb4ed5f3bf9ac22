"""Check of the pixels: what the vision tower is fed of a file is what the stock processor makes of it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

from jepa_vlm.conformance.result import Failure
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.trajectories.image import ORIENTATION

DEEP = "16 bits"


def pixels_are_the_processors(subject: Subject) -> str:
    """The inputs of the vision tower, and the count of tokens, are those of the stock processor, kind by kind of file.

    It is handed the opened picture, turned as its EXIF says. Of 16 bits it is handed the upper 8: by itself it clips.
    One that converts nothing (LFM2-VL's reads the numbers of a palette as gray) is handed what the others convert to.
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
                raise Failure(f"{kind}: {name} is not the stock processor's")
        written = int((stock["input_ids"] == adapter.feature_id).sum())
        counted = adapter.image_tokens(processor, *image.size).length
        if counted != written:
            raise Failure(f"{kind}: {counted} tokens are counted, the stock processor writes {written}")
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
