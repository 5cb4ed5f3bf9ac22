"""Laws of every format: image references, file layouts, units of boxes, bad rows one by one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from jepa_vlm.errors import DataError, UnknownNameError
from jepa_vlm.trajectories.bad_rows import BadRows
from jepa_vlm.trajectories.box import CUT, ROUNDED, UNITS
from jepa_vlm.trajectories.formats import FORMATS, write_store
from jepa_vlm.trajectories.load import load_trajectories
from jepa_vlm.trajectories.rows import RowReader
from tests.trajectories.formats.files import example, make_root, png, write_records, write_table

WITH_IMAGES = sorted(set(FORMATS) - {"parquet"})  # the store refers to its own images alone, by number
TABLES = ("covt", "thinkmorph")
JSON = sorted(set(WITH_IMAGES) - {*TABLES})
WITH_BOXES = ("jsonl", "lvr", "messages", "pixelreasoner", "viscot")
LINK = "link.png"  # leads out of the root


def with_image(name: str, reference: str, number: int = 0) -> dict[str, object]:
    """Return a good record of which the first image is what a reference means, and whose id is unique."""
    if name in TABLES:
        column = "image" if name == "covt" else "problem_image_0"
        return example(name) | {column: {"bytes": None, "path": reference}}
    text = json.dumps(example(name)).replace('"a.png"', json.dumps(reference), 1)
    return json.loads(text) | ({"id": str(number)} if name == "jsonl" else {})


def read(name: str, root, *references: str, options: str = ""):
    rows = [with_image(name, reference, number) for number, reference in enumerate(references)]
    return load_trajectories(write_records(name, root, *rows) + options)


def uri(content: bytes, head: str = "data:image/png;base64") -> str:
    return f"{head},{base64.b64encode(content).decode()}"


def test_every_format_has_an_example_in_this_test():
    assert {name for name in FORMATS if name != "parquet"} == set(WITH_IMAGES)
    assert all(example(name) for name in WITH_IMAGES)


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_a_picture_is_the_same_however_it_is_referred_to(root, name):
    folder = root / ("" if name not in TABLES else name)
    folder.mkdir(exist_ok=True)
    (folder / "a b%.png").write_bytes(png(40, 20, "green"))
    file = (folder / "a b%.png").resolve()
    escaped = f"file://{folder.resolve()}/a%20b%25.png"
    same = ["a b%.png", str(file), f"file://{file}", f"file://localhost{file}", escaped, uri(png(40, 20, "green"))]
    same.append(uri(png(40, 20, "green"), head="DATA:;name=x;BASE64"))
    pictures = [one.images[0].load().tobytes() for one in read(name, root, *same)]
    assert pictures == [pictures[0]] * len(same)
    assert pictures[0][:3] == bytes([0, 128, 0])


BROKEN = [
    "x" * 5000,
    "x/" * 3000,
    "a\0.png",
    "../secret.png",
    "sub/../../secret.png",
    LINK,
    "/etc/passwd",
    "file:///etc/passwd",
    "file://elsewhere/../../../../../etc/passwd",
    "https://example.com/a.png",
    "s3://bucket/a.png",
    "data:image/png;base64," + "%" * 5000,
    "data:image/png;base64,{base64_encoded}",
    "data:image/png,abc",
    "data:image/png;base64",
]


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_a_broken_image_reference_rejects_its_own_row_alone(root, name):
    if name in TABLES:
        (root / name).mkdir()
        (root / name / LINK).symlink_to(root.parent / "secret.png")
    rows = read(name, root, *BROKEN, str((root / LINK).absolute()), uri(b"words"), uri(png()))
    for index in range(len(BROKEN) + 1):
        with pytest.raises(DataError) as caught:
            rows[index]
        assert caught.value.problem == "image path", (index, str(caught.value))
        assert len(str(caught.value)) < 500 + len(str(root))
    with pytest.raises(DataError, match="not a readable image") as caught:
        rows[len(BROKEN) + 1]
    assert caught.value.problem == "image unreadable"
    assert rows[len(BROKEN) + 2].images[0].size == (40, 20)


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_a_folder_that_the_user_names_opens_absolute_paths_into_it(root, tmp_path, name):
    secret = str(tmp_path / "secret.png")
    option = "root" if name == "mirage" else "images"
    with pytest.raises(DataError, match=rf"must be relative .* or lie inside it.*: #{option}=FOLDER"):
        read(name, root, secret)[0]
    named = tmp_path if name in TABLES else root
    roots = tmp_path / "roots.json"
    roots.write_text(json.dumps({"elsewhere": str(tmp_path), "/old/machine": str(named)}))
    (named / "a.png").write_bytes(png())
    rows = read(name, root, secret, "/old/machine/a.png", "elsewhere/secret.png", options=f"#roots={roots}")
    assert [one.images[0].size for one in rows] == [(40, 20)] * 3
    (tmp_path / "b.png").write_bytes(png())
    assert read(name, root, secret, options=f"#{option}={tmp_path}")[0].images[0].size == (40, 20)


def mutations(value: object) -> Iterator[object]:
    """Yield copies of a record with one value, at any depth, replaced by one that does not belong there."""
    yield from (None, 7, -1.5, True, "", "x", [], [[]], {}, {"a": None}, float("nan"), "<image>", [None], "\ud83d")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        for other in mutations(one):
            changed = dict(value) if isinstance(value, dict) else list(value)
            changed[key] = other
            yield changed
    if isinstance(value, dict):
        for key in value:
            yield {other: one for other, one in value.items() if other != key}


@pytest.mark.parametrize("name", JSON)
def test_any_record_is_either_a_trajectory_or_one_problem(root, name):
    good = with_box(name, [0.25, 0, 0.75, 1]) if name == "messages" else example(name)
    rows = load_trajectories(write_records(name, root, good, *(one for one in mutations(good)), good))
    reader = RowReader(BadRows("skip"))
    assert 2 <= len(list(reader.read(rows, lambda _: None))) < len(rows)
    assert all(message.startswith(f"{root}/") for first in reader.problems.first.values() for message in first)


KINDS = {
    "list.json": lambda rows: json.dumps(rows),
    "list.jsonl": lambda rows: json.dumps(rows, indent=1),
    "lines.json": lambda rows: "\n".join(map(json.dumps, rows)),
    "lines.ndjson": lambda rows: "\n\n".join(map(json.dumps, rows)) + "\n",
    "lines.JSONL": lambda rows: "\ufeff" + "\r\n".join(map(json.dumps, rows)) + "\r\n",
    "objects.json": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows),
    "one.jsonl": lambda rows: json.dumps(rows[0], indent=2),
    "list.txt": lambda rows: "\ufeff \r\n" + json.dumps(rows),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_of_a_file_is_recognised_by_its_first_characters_not_its_name(root, name, kind):
    rows = [with_image(name, "a.png", number) for number in range(2)]
    (root / kind).write_bytes(KINDS[kind](rows).encode())
    found = load_trajectories(f"{name}:{root / kind}")
    assert [one.images[0].path.name for one in found] == ["a.png"] * (1 if kind == "one.jsonl" else 2)


def with_box(name: str, box: list[float]) -> dict[str, object]:
    """Return a record of a format whose crop is a box."""
    call = {"name": "crop", "arguments": {"bbox_2d": box}}
    if name == "messages":
        seen = {"role": "user", "content": "<image>"}
        asked, said = example(name)["messages"]
        look = {"role": "assistant", "content": f"I look. <tool_call>{json.dumps(call)}</tool_call>"}
        return {"messages": [asked, look, seen, said], "images": ["a.png", "b.png"]}
    text = json.dumps(example(name))
    for old in ("[10, 0, 30, 20]", "[0.25, 0, 0.75, 1]"):
        text = text.replace(old, json.dumps(box))
    return json.loads(text.replace(', "relative": false', ""))


def boxed(name: str, root, unit: str, *fractions: tuple[float, ...], options: str = ""):
    """Return the rows of a file whose boxes, given as fractions, are in a unit of its 40 x 20 image."""
    across, down = {"pixels": (40, 20), "fractions": (1, 1), "thousandths": (1000, 1000)}[unit]
    rows = [with_box(name, [x0 * across, y0 * down, x1 * across, y1 * down]) for x0, y0, x1, y1 in fractions]
    if name == "jsonl":
        rows = [row | {"id": str(number)} for number, row in enumerate(rows)]
    return load_trajectories(f"{write_records(name, root, *rows)}#boxes={unit}{options}")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", WITH_BOXES)
def test_boxes_are_in_the_unit_that_the_option_names(root, name, unit):
    (one,) = boxed(name, root, unit, (0.25, 0, 0.75, 1))
    assert one.steps[0].call.box.in_pixels(40, 20) == (10, 0, 30, 20)
    assert one.notes == ()


def test_the_formats_with_boxes_are_those_that_take_a_unit(root):
    for name in WITH_IMAGES:
        spec = write_records(name, root, with_image(name, "a.png"))
        if name in WITH_BOXES:
            with pytest.raises(UnknownNameError, match=r"No unit of boxes named 'pixel'. Did you mean 'pixels'"):
                load_trajectories(f"{spec}#boxes=pixel")
        else:
            with pytest.raises(UnknownNameError, match=rf"No option of {name} named 'boxes'"):
                load_trajectories(f"{spec}#boxes=pixels")


NOISE = [
    (0.25, 0, 1.0000001, 1),
    (-1e-7, 0, 0.5, 1),
    (0.25, 0, 0.5, 1.0005),
    (0.25, 0, 1 + 1 / 40, 1),
    (0, -0.05, 1, 1),
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", WITH_BOXES)
def test_box_edges_beyond_the_image_by_rounding_are_clamped_and_noted(root, name, unit):
    for one in boxed(name, root, unit, *NOISE):
        assert one.notes == (ROUNDED,)
        left, top, right, bottom = one.steps[0].call.box.in_pixels(40, 20)
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 20


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", [name for name in WITH_BOXES if name != "pixelreasoner"])
def test_boxes_further_beyond_the_image_are_refused_unless_the_source_allows_clamping(root, name, unit):
    over = [(0.25, 0, 0.5, 1.5), (-0.25, 0, 0.5, 1)]
    rows = boxed(name, root, unit, *over)
    for index in range(2):
        with pytest.raises(DataError, match=r"reaches beyond its 40 x 20 image") as caught:
            rows[index]
        assert caught.value.problem == "box"
    cut = boxed(name, root, unit, *over, (0.5, 0, 0.25, 1), (1.2, 0, 1.5, 1), options=",bad=clamp")
    assert [cut[i].notes for i in range(2)] == [(CUT,)] * 2
    assert [cut[i].steps[0].call.box.in_pixels(40, 20) for i in range(2)] == [(10, 0, 20, 20), (0, 0, 20, 20)]
    for index, message in ((2, "are its corners swapped"), (3, "lies outside its 40 x 20 image")):
        with pytest.raises(DataError, match=message):
            cut[index]


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_bad_rows_are_refused_or_left_out_and_counted_up_to_a_share(root, tmp_path, name):
    rows = [with_image(name, "gone.png" if number == 3 else uri(png()), number) for number in range(8)]
    spec = write_records(name, root, *rows)
    with pytest.raises(DataError, match=r"gone\.png.* does not exist.*#bad=skip behind the data .* #bad=clamp"):
        write_store(load_trajectories(spec), tmp_path / "refused")
    with pytest.raises(
        DataError, match=r"(?s)1 of 8 rows are bad \(12.5%\); #max_bad=0.02 is .*1 x image missing\n.*gone"
    ):
        write_store(load_trajectories(f"{spec}#bad=skip"), tmp_path / "many")
    done = write_store(load_trajectories(f"{spec}#bad=skip,max_bad=0.125"), tmp_path / "some")
    assert (done.rows, done.skipped) == (7, {"image missing": 1})
    assert load_trajectories(str(tmp_path / "some")).dropped == {"image missing": 1}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("content", ["", "[]", "\n \n", "\ufeff[ ]"])
def test_a_file_without_rows_is_refused(root, name, content):
    (root / "none.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"none\.json is empty; it must hold JSON objects"):
        load_trajectories(f"{name}:{root / 'none.json'}")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_rows_is_refused(root, name):
    import pyarrow.parquet as pq

    path = write_table(root / "none.parquet", example(name))
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(DataError, match=r"none\.parquet holds no trajectory\."):
        load_trajectories(f"{name}:{path}")


def test_a_file_of_which_the_format_drops_every_row_is_refused_with_the_counts(tmp_path):
    root = make_root(tmp_path)
    video = {"message_list": [{"role": "user", "content": [{"video": ["1.png"]}]}]}
    with pytest.raises(DataError, match=r"release\.json holds no trajectory; left out by the format: 2 x video"):
        load_trajectories(write_records("pixelreasoner", root, video, video))
    rows = [{"conversations": []}, example("llava") | {"video": "a.mp4"}, {"conversations": []}]
    with pytest.raises(DataError, match=r"left out by the format: 2 x no image; left out by the format: 1 x video"):
        load_trajectories(write_records("llava", root, *rows))
