from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.engine import Collator
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import pearl_objective, random_trajectory


@pytest.fixture(scope="module")
def collator() -> Collator:
    return LatentVLM(jv.load_backbone("tiny-random-qwen2.5-vl"), pearl_objective()).collator()


def showing(name: str, *images: jv.LazyImage) -> jv.Trajectory:
    made = random_trajectory(torch.Generator().manual_seed(0), name, calls=1)
    return replace(made, images=images[:1], steps=(replace(made.steps[0], image=images[-1]), *made.steps[1:]))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for name, size in (("one", (32, 48)), ("two", (32, 48))):
        found.append(tmp_path / f"{name}.png")
        Image.new("RGB", size).save(found[-1])
    return found


def test_an_image_is_encoded_once_however_often_it_is_shown(collator: Collator, files: list[Path]) -> None:
    one, again, two = (jv.LazyImage(path=path, origin=str(i)) for i, path in enumerate((files[0], *files)))
    batch = collator([showing("a", one, again), showing("b", again, two)])
    assert batch.shown == [[0, 0], [0, 1]]
    assert len(batch.images["image_grid_thw"]) == 2
    tokens = collator.serializer.images(showing("a", one))[0].length
    rows = batch.sequences["gradient"].image_rows
    assert rows.tolist() == [*range(tokens), *range(tokens), *range(tokens), *range(tokens, 2 * tokens)]


def test_pictures_that_differ_in_size_are_different_images(collator: Collator, files: list[Path]) -> None:
    one = jv.LazyImage(path=files[0])
    batch = collator([showing("a", one, replace(one, resized=(64, 64)))])
    assert batch.shown == [[0, 1]]


def test_images_in_memory_are_told_apart_by_identity_not_by_pixels(collator: Collator) -> None:
    picture = Image.new("RGB", (32, 32))
    one, same, copy = jv.LazyImage(pixels=picture), jv.LazyImage(pixels=picture), jv.LazyImage(pixels=picture.copy())
    assert collator([showing("a", one, same), showing("b", copy)]).shown == [[0, 0], [1, 1]]
