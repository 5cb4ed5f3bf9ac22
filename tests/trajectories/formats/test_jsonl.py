"""The native format: what is written is read back, and every bad input is one clear message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from jepa_vlm import playground
from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box, LazyImage, Step, ToolCall, Trajectory
from jepa_vlm.trajectories.formats import read_jsonl, write_jsonl
from tests.trajectories.formats.files import png_header

WORDS = ("id", "question", "answer", "task")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with one 40 x 20 image."""
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "a.png")
    return folder


def row(**changes: object) -> dict[str, object]:
    """A good row with one tool call, some of its values changed; None removes a key."""
    call = {"name": "crop", "arguments": {"column": 1}, "box": [0, 0, 0.5, 1.0], "relative": True, "image": 0}
    steps = [{"text": "Look.", "call": call, "image": "a.png"}, {"text": "B"}]
    good = {"id": "x", "images": ["a.png"], "question": "What?", "steps": steps, "answer": "B", "task": "t"}
    return {key: value for key, value in (good | changes).items() if value is not None}


def write(root: Path, *rows: object) -> Path:
    path = root / "data.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in rows))
    return path


def calling(**changes: object) -> dict[str, object]:
    """A good row whose call has some of its values changed."""
    steps = json.loads(json.dumps(row()["steps"]))
    steps[0]["call"] = {key: value for key, value in (steps[0]["call"] | changes).items() if value is not None}
    return row(steps=steps)


def test_a_jsonl_row_becomes_a_trajectory(root):
    (read,) = read_jsonl(write(root, "", row()))
    first, last = read.steps
    assert (read.id, read.question, read.answer, read.task, last.text) == ("x", "What?", "B", "t", "B")
    assert first.call == ToolCall("crop", {"column": 1}, Box(0, 0, 0.5, 1.0, relative=True), 0)
    assert read.images[0].size == (40, 20)
    assert read.images[0].path == root / "a.png"


@pytest.mark.parametrize("task", list(playground.TASKS))
def test_trajectories_written_as_jsonl_are_read_back(tmp_path, task):
    written = playground.trajectories(task, count=6, seed=2)
    read = read_jsonl(write_jsonl(written, tmp_path / "out" / "train.jsonl"))
    for before, after in zip(written, read, strict=True):
        assert [getattr(before, name) for name in WORDS] == [getattr(after, name) for name in WORDS]
        for one, other in zip(before.steps, after.steps, strict=True):
            assert (one.text, one.call, one.observation) == (other.text, other.call, other.observation)
        assert [i.load().tobytes() for i in before.all_images] == [i.load().tobytes() for i in after.all_images]


def test_writing_jsonl_leaves_no_temporary_files_and_saves_each_image_once(tmp_path):
    image = LazyImage(pixels=Image.new("RGB", (8, 8), "blue"))
    twins = [Trajectory(f"{i}", (image,), "Q?", (Step("A"),), "A") for i in range(3)]
    write_jsonl(twins, tmp_path / "d.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.jsonl", "d_images"]
    assert len(list((tmp_path / "d_images").iterdir())) == 1


def test_a_failed_write_keeps_the_old_jsonl_file(tmp_path):
    image = LazyImage(pixels=Image.new("RGB", (8, 8)))
    good = Trajectory("good", (image,), "Q?", (Step("A"),), "A")
    bad = Trajectory("bad", (LazyImage(path=tmp_path / "gone.png"),), "Q?", (Step("A"),), "A")
    path = write_jsonl([good], tmp_path / "d.jsonl")
    with pytest.raises(DataError, match="does not exist"):
        write_jsonl([good, bad], path)
    assert [trajectory.id for trajectory in read_jsonl(path)] == ["good"]


def test_images_stay_on_disk_until_they_are_loaded(root):
    (read,) = read_jsonl(write(root, row()))
    (root / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png \(.*data\.jsonl:1\) does not exist"):
        read.images[0].load()


def test_reading_jsonl_decodes_no_pixels(root):
    whole = (root / "a.png").read_bytes()
    (root / "a.png").write_bytes(whole[:60])  # the header alone
    (read,) = read_jsonl(write(root, row()))
    assert read.images[0].size == (40, 20)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "x",', r"data\.jsonl:2: not valid JSON \(.+ at column 12\)"),
        ("[1, 2]", r":2: a record must be an object, got \[1, 2\]"),
        ("[" * 100_000, r":2: not usable JSON"),
        (row(id=None), r":2: key 'id' is missing; it must be a string"),
        (row(question=7), r":2: key 'question' must be a string, got 7"),
        (row(steps="B"), r":2: key 'steps' must be a list, got 'B'"),
        (row(steps=["B"]), r":2: a step must be an object, got 'B'"),
        (row(steps=[]), r":2: Trajectory 'y' has no steps"),
        (row(steps=[{"call": None}]), r":2: key 'text' is missing"),
        (row(answer=["B"]), r":2: key 'answer' must be a string"),
        (row(images=[3]), r":2: an image path must be a string, got 3"),
        (row(images=[]), r":2: Trajectory 'y' has a question but no image"),
        (row(images=None), r":2: Trajectory 'y' has a question but no image"),
        (row(images=["b.png"]), r":2: Image .*b\.png does not exist; check the path and the data root"),
        (row(images=["/etc/passwd"]), r":2: image path '/etc/passwd' must be relative to the data root"),
        (row(images=["../secret.png"]), r":2: image path '\.\./secret\.png' leads outside the data root"),
        (row(images=["link.png"]), r":2: image path 'link\.png' leads outside the data root"),
        (row(images=["circle.png"]), r":2: (image path 'circle\.png' cannot be followed|Image .*circle\.png is not)"),
        (row(images=["a\0.png"]), r":2: image path 'a\\x00\.png' cannot be followed"),
        (row(images=["text.png"]), r":2: Image .*text\.png is not a readable image"),
        (row(images=["huge.png"]), r":2: Image .*huge\.png is 9000 x 9000 = 81,000,000 pixels, limit 64,000,000"),
        (row(images=["bomb.png"]), r":2: Image .*bomb\.png has too many pixels \(limit 64,000,000\)"),
        (calling(box=[0.5, 0, 0.2, 1]), r":2: A box needs left < right and top < bottom"),
        (calling(box=[0, 0, 1.5, 1]), r":2: Box \(0, 0, 1.5, 1\), in fractions, reaches beyond its 40 x 20 image"),
        (calling(box=[0, 0, 20, 10]), r":2: Box \(0, 0, 20, 10\) does not fit fractions of its 40 x 20 image"),
        (
            calling(box=[0, 0, 42, 20], relative=False),
            r":2: Box \(0, 0, 42, 20\), in pixels, reaches beyond its 40 x 20",
        ),
        (calling(box=[-2, 0, 4, 4], relative=False), r":2: Box \(-2, 0, 4, 4\), in pixels, reaches beyond"),
        (calling(relative=None), r":2: key 'relative' is missing; it must be true or false"),
        (calling(relative=1), r":2: key 'relative' must be true or false, got 1"),
        (calling(box=[0, 0, 1]), r":2: key 'box' must be four finite numbers"),
        (calling(box=[0, 0, float("inf"), 1]), r":2: not usable JSON \(Infinity is no JSON number"),
        (calling(arguments={"deep": [{"zoom": float("nan")}]}), r":2: not usable JSON \(NaN is no JSON number"),
        (
            row(question="What <image> is it?"),
            r":2: key 'question' holds 1 <image> for 1 images, and may mean a word; write",
        ),
        (row(question=[{"type": "video"}]), r":2: a part of key 'question' must be a text or an image, got 'video'"),
        (row(question=[{"type": "image"}, {"type": "image"}]), r":2: key 'question' has 2 image parts for 1 images"),
        (calling(box=[0, 0, True, 1]), r":2: key 'box' must be four finite numbers"),
        (calling(image=1), r":2: step 1 calls for image 1, but there are 1 before it"),
        (calling(image=True), r":2: key 'image' must be a whole number, got True"),
        (calling(name=None), r":2: key 'name' is missing"),
        (row(id="x"), r":2: id 'x' is taken by .*data\.jsonl:1; ids must be unique"),
    ],
)
def test_a_bad_jsonl_row_is_one_message_that_names_file_and_line(root, bad, message):
    Image.new("RGB", (4, 4)).save(root.parent / "secret.png")
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "circle.png").symlink_to(root / "circle.png")
    (root / "text.png").write_text("not an image")
    (root / "huge.png").write_bytes(png_header(9_000, 9_000))
    (root / "bomb.png").write_bytes(png_header(20_000, 20_000))
    if isinstance(bad, dict) and bad.get("id") == "x" and "is taken" not in message:
        bad = bad | {"id": "y"}
    with pytest.raises(DataError, match=message) as caught:
        list(read_jsonl(write(root, row(), bad)))
    assert str(caught.value).count("data.jsonl:2") == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_jsonl_file_is_refused(root, content):
    (root / "data.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"Data file .*data\.jsonl is empty"):
        read_jsonl(root / "data.jsonl")


def test_a_missing_jsonl_file_is_refused(root):
    with pytest.raises(DataError, match=r"Data file .*gone\.jsonl does not exist"):
        read_jsonl(root / "gone.jsonl")


def test_a_folder_or_binary_file_is_refused_as_jsonl(root):
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(root)
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        list(read_jsonl(root / "a.png"))
