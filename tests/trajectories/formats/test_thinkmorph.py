"""ThinkMorph's parquet: both spellings, several tasks, caps, and the message for each column that is wrong."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats import tables
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import png, png_header, refused


def row(**changes: object) -> dict[str, object]:
    good = {
        "pid": "7",
        "question": "Where does the piece go?",
        "answer": "B",
        "problem_image_0": {"bytes": png(), "path": "p.png"},
        "resoning_thought_0": "I put it left.",
        "reasoning_image_0": {"bytes": png(30, 30, "blue"), "path": None},
        "resoning_thought_1": "It fits: B.",
        "full_text_only_thought": "long",
    }
    return good | changes


def write(path, *rows: dict[str, object], group: int = 2):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)
    return path


@pytest.mark.parametrize("spelling", ["resoning", "reasoning"])
def test_a_thinkmorph_row_is_one_picture_between_two_thoughts(tmp_path, spelling):
    renamed = {name.replace("resoning", spelling): value for name, value in row().items()}
    (read,) = load_trajectories(f"thinkmorph:{write(tmp_path / 'Jigsaw' / 'train.parquet', renamed)}")
    look, say = read.steps
    assert (read.id, read.task, read.question, read.answer) == (
        "Jigsaw-train-0",
        "Jigsaw",
        "Where does the piece go?",
        "B",
    )
    assert (look.spoken, look.call, look.observation) == ("I put it left.", None, "Here is the focused image.")
    assert (say.text, read.images[0].size, look.image.load().size) == ("It fits: B.", (40, 20), (30, 30))


def test_the_original_style_writes_the_tags_that_thinkmorph_trains_on(tmp_path):
    (read,) = load_trajectories(f"thinkmorph:{write(tmp_path / 'train.parquet', row())}#style=original")
    assert [step.text for step in read.steps] == [
        "<think>I put it left.</think>",
        "<think>It fits: B.</think><answer>B</answer>",
    ]


@pytest.fixture
def tasks(tmp_path):
    root = tmp_path / "thinkmorph"
    for number in range(2):
        rows = (row(answer=f"{number}{i}") for i in range(3))
        write(root / "Visual_Search" / "data" / f"train-0000{number}-of-00002.parquet", *rows)
    write(root / "Jigsaw_Assembly" / "data" / "train-00000-of-00001.parquet", row(), row())
    write(root / "Jigsaw_Assembly" / "data" / "test-00000-of-00001.parquet", row(answer="held out"))
    return root


def test_only_the_requested_split_of_the_thinkmorph_tasks_is_read(tasks):
    rows = load_trajectories(f"thinkmorph:{tasks}")
    read = list(rows)
    assert [one.task for one in read] == ["Jigsaw_Assembly"] * 2 + ["Visual_Search"] * 6
    assert [one.answer for one in read[2:]] == ["00", "01", "02", "10", "11", "12"]
    assert len(set(rows.ids)) == 8
    assert rows.place(5).endswith("train-00001-of-00002.parquet[0]")
    assert rows[6].answer == "11"
    assert pickle.loads(pickle.dumps(rows))[7].answer == "12"
    assert [one.answer for one in load_trajectories(f"thinkmorph:{tasks}#split=test")][:1] == ["held out"]


def test_a_cap_limits_each_thinkmorph_task_and_is_counted(tasks):
    rows = load_trajectories(f"thinkmorph:{tasks}#cap=2")
    assert [one.task for one in rows] == ["Jigsaw_Assembly"] * 2 + ["Visual_Search"] * 2
    assert rows.dropped == {"beyond the cap": 4}
    assert rows.ids == load_trajectories(f"thinkmorph:{tasks}#cap=2").ids
    with pytest.raises(DataError, match="cap must be a whole number of at least 1, got '0'"):
        load_trajectories(f"thinkmorph:{tasks}#cap=0")


def test_a_bounded_number_of_row_groups_is_held_in_memory(tasks, monkeypatch):
    rows = load_trajectories(f"thinkmorph:{tasks}")
    tables._HELD.clear()
    monkeypatch.setattr(tables, "HELD_BYTES", 1)
    for index in (0, 7, 3, 7):
        rows[index]
        assert len(tables._HELD) == 1
    monkeypatch.setattr(tables, "HELD_BYTES", 1 << 20)
    list(rows)
    assert len(tables._HELD) > 2


@pytest.mark.parametrize("column", ["question", "answer", "problem_image_0", "reasoning_image_0"])
def test_a_missing_column_is_named_with_those_that_there_are(tmp_path, column):
    path = write(tmp_path / "train.parquet", {name: value for name, value in row().items() if name != column})
    with pytest.raises(DataError, match=rf"train\.parquet: column '{column}' is missing; there are pid"):
        load_trajectories(f"thinkmorph:{path}")
    path = write(tmp_path / "t.parquet", {name: value for name, value in row().items() if "thought_0" not in name})
    with pytest.raises(DataError, match="column 'resoning_thought_0' or 'reasoning_thought_0' is missing"):
        load_trajectories(f"thinkmorph:{path}")


@pytest.mark.parametrize(
    ("changes", "message", "problem"),
    [
        ({"question": None}, "key 'question' is missing; it must be a string", "key"),
        ({"answer": None}, "key 'answer' is missing", "key"),
        ({"resoning_thought_0": " "}, "a thought is empty", "key"),
        ({"resoning_thought_1": None}, "key 'thought_1' is missing", "key"),
        ({"resoning_thought_1": "x" * 1_000_000}, "limit 100,000", "text too long"),
        ({"problem_image_0": None}, "column 'problem_image_0' must hold an image", "key"),
        ({"problem_image_0": {"bytes": b"", "path": None}}, "'problem_image_0': an image has neither", "image missing"),
        ({"problem_image_0": {"bytes": b"no", "path": ""}}, "an embedded image .*not a readable", "image unreadable"),
        ({"problem_image_0": {"bytes": None, "path": "../s.png"}}, "leads outside the data root", "image path"),
        ({"reasoning_image_0": {"bytes": png_header(50_000, 50_000), "path": ""}}, "pixels", "image too large"),
    ],
)
def test_a_bad_thinkmorph_cell_is_refused_with_file_and_row(tmp_path, changes, message, problem):
    rows = load_trajectories(f"thinkmorph:{write(tmp_path / 'train.parquet', row(), row(**changes))}")
    assert rows[0].answer == "B"
    refused(rows, "train.parquet[1]", message, problem)


def test_a_thinkmorph_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="is no readable parquet file"):
        load_trajectories(f"thinkmorph:{tmp_path / 'x.parquet'}")
    with pytest.raises(DataError, match="does not exist"):
        load_trajectories(f"thinkmorph:{tmp_path / 'gone.parquet'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no parquet file"):
        load_trajectories(f"thinkmorph:{tmp_path / 'empty'}")
    (tmp_path / "empty" / "out.parquet").symlink_to(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="leads outside the data root"):
        load_trajectories(f"thinkmorph:{tmp_path / 'empty'}")


def test_a_text_with_invalid_utf8_rejects_its_own_row_alone(tmp_path):
    path = write(tmp_path / "train.parquet", row(), row(question="~ ~"))
    table = pq.read_table(path)
    place = table.schema.get_field_index("question")
    broken = pa.array([b"Where?", b"\xff \xff"]).view(pa.binary()).cast(pa.binary())
    texts = pa.StringArray.from_buffers(2, *broken.buffers()[1:])
    pq.write_table(table.set_column(place, "question", texts), path)
    rows = load_trajectories(f"thinkmorph:{path}")
    assert rows[0].question == "Where?"
    with pytest.raises(DataError, match=r"train\.parquet\[1\]: a row cannot be read .*utf-8"):
        rows[1]
