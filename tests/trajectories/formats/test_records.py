"""What holds for the keys of every format: none is dropped without a word, and none that changes the meaning at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats import write_store
from jepa_vlm.trajectories.formats.records import MEANINGS
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import FORMATS_WITH_EXAMPLES, write_example, write_lines, write_list, write_table

Row = dict[str, Any]
CALL = {"name": "crop", "arguments": {"bbox_2d": [0, 0, 0.5, 1]}}
CHAT = [
    {"role": "system", "content": "Look."},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "1", "type": "function", "function": CALL}]},
    {"role": "tool", "tool_call_id": "1", "content": [{"type": "image_url", "image_url": {"url": "b.png"}}]},
    {"role": "assistant", "content": "Red."},
]
STEPS = [
    {"text": "I look.", "image": "b.png", "observation": "So:", "image_place": 1}
    | {"call": CALL | {"box": [0, 0, 0.5, 1], "relative": True, "image": 0, "written": "<c>"}},
    {"text": "red"},
]
TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Red."}]
OWN: dict[str, Row] = {
    "messages": {"id": "1", "task": "t", "images": [{"path": "a.png"}], "messages": CHAT},
    "prompts": {"prompt": CHAT[:2], "completion": CHAT[2:], "images": ["a.png"]},
    "llava": {"id": "1", "image": "a.png", "conversations": TURNS},
    "jsonl": {
        "id": "1",
        "images": ["a.png"],
        "steps": STEPS,
        "answer": "red",
        "task": "t",
        "system": "s",
        "keep": ["k"],
    }
    | {"question": [{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "?"}]},
}
NAMES = sorted({*FORMATS_WITH_EXAMPLES, *OWN, "parquet"})
TABLES = ("covt", "thinkmorph")
CELLS = ("problem_image_0", "reasoning_image_0")


def stored(root: Path, row: Row) -> str:
    """Write a native row as the only one of a store."""
    if not (root / "store").exists():
        write_store(load_trajectories(f"jsonl:{write_lines(root / 'x.jsonl', OWN['jsonl'])}"), root / "store")
    write_table(root / "store" / "rows-00000.parquet", {"id": "1", "task": "t", "trajectory": json.dumps(row)})
    return f"parquet:{root / 'store'}"


def example(name: str, root: Path) -> tuple[Row, Callable[[Row], str]]:
    """Return a good row of a format, and what writes a row as the only one of a file."""
    if name == "parquet":
        stored(root, {})
        write_store(load_trajectories(f"jsonl:{root / 'x.jsonl'}"), root / "again")
        (held,) = pq.read_table(root / "again" / "rows-00000.parquet").to_pylist()
        return json.loads(held["trajectory"]), lambda row: stored(root, row)
    if name in OWN:
        source = "messages" if name == "prompts" else name
        return OWN[name], lambda row: f"{source}:{write_lines(root / 'x.jsonl', row)}"
    source, _, written = write_example(name, root, count=1).partition(":")
    path = Path(written)
    if path.suffix == ".parquet":
        (row,) = pq.read_table(path).to_pylist()
        return row, lambda row: f"{source}:{write_table(path, row)}"
    whole = json.loads(path.read_text())
    lines = path.suffix == ".jsonl"
    write = write_lines if lines else write_list
    return whole if lines else whole[0], lambda row: f"{source}:{write(path, row)}"


def objects(value: Any, path: str = "") -> Iterator[tuple[str, Callable[[Row], Row]]]:
    """Yield the path of every object inside a row, and what finds it in a copy of the row."""
    if isinstance(value, dict):
        yield path, lambda row: row
        for key, inner in value.items():
            for deeper, find in objects(inner, f"{path}{key}." if isinstance(inner, dict) else f"{path}{key}"):
                if key != "arguments":
                    yield deeper, lambda row, key=key, find=find: find(row[key])
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for deeper, find in objects(inner, f"{path}[]."):
                yield deeper, lambda row, at=at, find=find: find(row[at])


def noted(spec: str) -> tuple[str, ...]:
    """Return what is noted on the first row but for the unit of its boxes."""
    return tuple(note for note in load_trajectories(spec)[0].notes if not note.startswith("box read as"))


def changes(name: str, root: Path) -> Iterator[tuple[str, Callable[[Row], Row], Row, Callable[[Row], str]]]:
    """Yield, for each object of a format's good row: its path, what finds it, a copy of the row, what writes a row."""
    good, write = example(name, root)
    assert noted(write(good)) == ()
    found = list(objects(good))
    assert found
    for path, find in found:
        yield path, find, copy.deepcopy(good), write


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_no_format_knows_is_noted_at_every_level(root, name):
    for path, find, row, write in changes(name, root):
        find(row)["mystery"] = 1
        assert noted(write(row)) == (f"never read: key '{path}mystery'",)
        find(row)["mystery"] = None  # as parquet has it where another row has the key
        unknown = path == "" and name in TABLES  # a column stays on disk, whatever it holds
        assert noted(write(row)) == (("never read: key 'mystery'",) if unknown else ())


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_changes_the_meaning_is_refused_at_every_level(root, name):
    for path, find, row, write in changes(name, root):
        find(row)["reasoning_content"] = "The patch is warm."
        with pytest.raises(DataError, match=f"key '{path}reasoning_content'".replace("[", r"\[")) as caught:
            load_trajectories(write(row))[0]
        assert caught.value.problem == "meaning"
        assert "write the reasoning into the text itself" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "parquet"])
def test_every_key_that_a_format_declares_as_read_is_read(root, name):
    """Another value under it is refused, or makes another trajectory; labels may say anything."""
    good, write = example(name, root)
    told = load_trajectories(write(good))[0]
    for path, find in objects(good):
        for key in find(good):
            row = copy.deepcopy(good)
            find(row)[key] = {"odd": 7} if key in CELLS else 7
            try:
                found = load_trajectories(write(row))[0]
                changed = (found.asked, found.steps, found.answer, found.task, found.system, found.keep) != (
                    (told.asked, told.steps, told.answer, told.task, told.system, told.keep)
                )
            except (DataError, pa.ArrowInvalid):
                changed = True
            assert changed != is_label(name, path, key), (path, key)


def is_label(name: str, path: str, key: str) -> bool:
    """Say whether a key of an example's row makes no difference."""
    of_a_call = path.endswith("tool_calls[].") and key == "type"
    beside_bytes = name in TABLES and key == "path"
    named = key in ("id", "qid", "split", "question_id", "image_relpath", "tool_call_id") and name != "jsonl"
    return of_a_call or beside_bytes or named


VALUES = {
    "video*": "v.mp4", "audio*": ["a.mp3"], "tools": [{"name": "crop"}], "weight": 0, "loss*": False, "label": False,
    "rejected*": "no", "chosen*": "yes", "source": {"type": "base64", "data": ""}, "objects": {"bbox": [[0, 0, 1, 1]]},
}  # fmt: skip


@pytest.mark.parametrize("key", [pattern for patterns, _, _ in MEANINGS for pattern in patterns])
def test_every_key_that_changes_the_meaning_is_refused_with_what_to_do(root, key):
    value = VALUES.get(key, VALUES.get(f"{key.rstrip('s')}*", "x"))
    name = "jsonl" if key in ("source", "video") else "llava"  # which has a label source, and drops rows of videos
    row = OWN[name] | {key.replace("*", "_one"): value}
    with pytest.raises(DataError, match=r"x\.jsonl:1: key .* changes what the row means, and is not read: \w+.*\.$"):
        load_trajectories(f"{name}:{write_lines(root / 'x.jsonl', row)}")[0]


@pytest.mark.parametrize(
    "more",
    [
        {"videos": []},
        {"objects": {"ref": [], "bbox": []}},
        {"tools": ""},
        {"thinking": False},
        {"label": True},
        {"source": "a book"},
    ],
)
def test_a_value_that_changes_nothing_is_no_reason_to_refuse(root, more):
    assert load_trajectories(f"llava:{write_lines(root / 'x.jsonl', OWN['llava'] | more)}")[0].answer == "Red."


@pytest.mark.parametrize(
    ("turn", "weight", "refused"), [(1, 0, True), (1, 0.5, True), (1, 1, False), (1, True, False), (0, 0, False)]
)
def test_only_an_answer_s_weight_other_than_one_is_refused(root, turn, weight, refused):
    chat = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "Red."}]
    chat[turn] |= {"weight": weight}
    rows = load_trajectories(f"messages:{write_lines(root / 'x.jsonl', {'messages': chat, 'images': ['a.png']})}")
    if not refused:
        assert rows[0].answer == "Red."
        return
    with pytest.raises(DataError, match="every answer is trained, with weight 1; drop the row"):
        rows[0]


def test_unread_columns_are_noted_and_checked_where_they_may_change_the_meaning(root):
    spec = write_example("thinkmorph", root, count=1)
    path = Path(spec.partition(":")[2])
    (row,) = pq.read_table(path).to_pylist()
    more = {"mystery": "x", "full_text_only_thought": "y", "videos": None}
    write_table(path, row | more)
    assert load_trajectories(spec)[0].notes == ("never read: key 'mystery'",)
    write_table(path, row | {"videos": ["a.mp4"]})
    with pytest.raises(DataError, match=r"key 'videos' changes what the row means"):
        load_trajectories(spec)[0]


def test_keys_of_lvr_s_meta_file_are_noted_with_every_row_of_it(root):
    write_example("lvr", root)
    entry = {"ds_name": "d", "data_path": "lvr.json", "image_folder": ".", "ds_type": "Q_A", "repeat": 3}
    rows = load_trajectories(f"lvr:{write_list(root / 'meta.json', entry)}")
    assert {row.notes for row in rows} == {("never read: key 'meta.json: repeat'",)}
