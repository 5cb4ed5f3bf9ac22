"""An example is found by what its states depend on, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.serialization import Serializer
from jepa_vlm.serialization.target_store import target_digests, target_stores
from jepa_vlm.views import Request, TrajectoryOnly

BACKBONE = jv.load_backbone("tiny-random-qwen2.5-vl")


def trajectory() -> jv.Trajectory:
    image, crop = (jv.LazyImage(pixels=Image.new("RGB", (48, 32), colour)) for colour in ("red", "blue"))
    steps = (jv.Step("look", call=jv.ToolCall("crop", {"row": 1}), image=crop, observation="here"), jv.Step("B"))
    return jv.Trajectory("one", (image,), "What color is the ring?", steps, answer="B")


def step(changed: Callable[[jv.Step], jv.Step]) -> Callable[[jv.Trajectory], jv.Trajectory]:
    return lambda whole: replace(whole, steps=(changed(whole.steps[0]), *whole.steps[1:]))


def recoloured(size: tuple[int, int]) -> Callable[[jv.Step], jv.Step]:
    picture = Image.new("RGB", (48, 32), "blue")
    picture.putpixel((0, 0), (0, 0, 254))
    return lambda old: replace(old, image=jv.LazyImage(pixels=picture.resize(size)))


def digest(change: Callable[[jv.Trajectory], jv.Trajectory], context: str = "none") -> bytes:
    serializer = Serializer(processor=BACKBONE.processor, adapter=BACKBONE.adapter)
    (found,) = target_digests(
        serializer, Request(TrajectoryOnly(context=context), policy=jv.frozen()), [change(trajectory())]
    )
    return found


CHANGES = {
    "a word": step(lambda old: replace(old, text="see")),
    "a pixel of its image": step(recoloured((48, 32))),
    "the size of its image": step(recoloured((64, 32))),
    "which words are content": step(lambda old: replace(old, observation="")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_view_makes_another_digest(name: str) -> None:
    assert digest(CHANGES[name]) != digest(lambda whole: whole)


def test_what_the_view_does_not_show_changes_nothing() -> None:
    shown = digest(lambda whole: whole)
    assert digest(lambda whole: replace(whole, id="two", question="Where is the ring?")) == shown
    assert digest(lambda whole: replace(whole, images=whole.images * 2)) == shown
    assert digest(lambda whole: replace(whole, images=whole.images * 2), "image") != digest(
        lambda whole: whole, "image"
    )


def request(folder: Path, readout: str) -> Request:
    return Request(view=TrajectoryOnly(), policy=jv.cached(folder), at=readout)


def test_the_key_says_what_is_stored(tmp_path: Path) -> None:
    asked = request(tmp_path / "a", "mean")
    (store,) = target_stores(BACKBONE, [asked, Request(view=TrajectoryOnly(), at="mean")]).values()
    assert store.folder == tmp_path / "a"
    assert (store.key["view"], store.key["readout"]) == ("TrajectoryOnly(context='none')", "mean")
    assert {"weights", "tokenizer", "chat template", "visual tokens", "dtype"} <= store.key.keys()


def test_a_folder_holds_one_target(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one cached target.*'mean'.*'last_token'"):
        target_stores(BACKBONE, [request(tmp_path, "mean"), request(tmp_path / "x" / "..", "last_token")])


def test_without_cached_targets_no_weight_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepa_vlm.serialization.target_store.state_digests", lambda backbone: pytest.fail("read"))
    assert target_stores(BACKBONE, [Request(view=TrajectoryOnly(), at="mean")]) == {}
