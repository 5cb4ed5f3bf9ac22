"""LLaVA's conversations, and CoVT's parquet that holds the same."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import HOSTILE, png, png_header, refused, write_lines, write_list


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if i % 2 else "human", "value": text} for i, text in enumerate(texts)]


def row(*texts: str, **changes: object) -> dict[str, object]:
    good = {"id": "7", "image": "a.png", "conversations": turns(*(texts or ("<image>\nWhat?", "Red.")))}
    return {key: value for key, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(("write", "name"), [(write_list, "x.json"), (write_lines, "x.jsonl")])
def test_a_llava_conversation_becomes_one_answer(root, write, name):
    (read,) = load_trajectories(f"llava:{write(root / name, row())}")
    assert (read.id, read.question, read.answer, read.calls) == ("x-0", "What?", "Red.", 0)


def test_llava_reads_several_images_and_a_placeholder_after_the_words(root):
    two = row("A <image> or <image>?", "B", image=["a.png", "b.png"])
    rows = load_trajectories(f"llava:{write_list(root / 'x.json', two, row('Q? <image>', 'A'))}")
    assert [(read.question, read.image_places) for read in rows] == [("A  or ?", (2, 6)), ("Q?", ())]


def test_a_placeholder_in_a_llava_answer_is_a_word(root):
    (read,) = load_trajectories(f"llava:{write_list(root / 'x.json', row('<image> Which tag?', 'The <image> tag.'))}")
    assert (read.question, read.answer) == ("Which tag?", "The <image> tag.")


def test_records_without_an_image_are_dropped_and_counted(root):
    rows = load_trajectories(f"llava:{write_list(root / 'x.json', row(image=None), row(), row(image=''))}")
    assert (rows.dropped, len(rows)) == ({"no image": 2}, 1)


def test_several_questions_are_refused_or_the_first_is_kept(root):
    path = write_list(root / "x.json", row("<image>\nQ?", "A", "More?", "B"))
    with pytest.raises(DataError, match=r"x\.json\[0\]: .*one question and its answer, got 2; #turns=first keeps"):
        load_trajectories(f"llava:{path}")[0]
    assert load_trajectories(f"llava:{path}#turns=first")[0].answer == "A"


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        (row(conversations=None), "key 'conversations' is missing; it must be a list", "key"),
        (row(conversations=[{"from": "human"}]), "key 'value' is missing", "key"),
        (row(conversations=[{"value": "x"}]), "key 'from' is missing", "key"),
        (row("<image>\nQ?"), "pairs of human and gpt, got 1", "turns"),
        (row("Q?", "A"), "the question has 0 <image> for 1 images", "placeholder"),
        (row("<image><video> Q?", "A"), "holds the placeholder '<video>', which nothing is put in", "placeholder"),
        (row("<image> Q?", "At <bbox>"), "holds the placeholder '<bbox>', which nothing is put in", "placeholder"),
        (row(image=3), "key 'image' must be a path or a list of paths, got 3", "key"),
        (row(image=["a.png", None]), "key 'image' must be a path or a list", "key"),
        *((row(image=name), message, problem) for name, problem, message in HOSTILE if name),
    ],
)
def test_a_bad_llava_record_is_refused_with_file_and_row(root, bad, message, problem):
    rows = load_trajectories(f"llava:{write_list(root / 'x.json', row(), bad)}")
    refused(rows, "x.json[1]", message, problem)


def table(path, *rows: dict[str, object]):
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def covt(*texts: str, **changes: object) -> dict[str, object]:
    said = turns(*(texts or ("<image>\nHow far?", "Near.")))
    return {"id": "1", "image": {"bytes": png(), "path": "x"}, "image_relpath": "x", "conversations": said} | changes


@pytest.mark.parametrize("as_text", [False, True])
def test_covt_keeps_the_first_pair(tmp_path, as_text):
    row = covt("<image>\nHow far?", "<answer>Near.</answer>", "Sure?", "Yes.")
    row |= {"conversations": json.dumps(row["conversations"])} if as_text else {}
    path = table(tmp_path / "train.parquet", row)
    (read,) = load_trajectories(f"covt:{path}")
    assert (read.question, read.answer, read.images[0].size) == ("How far?", "Near.", (40, 20))
    with pytest.raises(DataError, match="#turns=first"):
        load_trajectories(f"covt:{path}#turns=one")[0]


@pytest.mark.parametrize(
    ("bad", "message", "problem"),
    [
        (covt(conversations="["), "column 'conversations' is no JSON", "json"),
        (covt(conversations="{}"), "key 'conversations' must be a list", "key"),
        (covt(conversations="null"), "key 'conversations' is missing", "key"),
        (covt(conversations=json.dumps(turns("How far?", "A"))), "0 <image> for 1 images", "placeholder"),
        (covt(conversations="[]", image=None), "column 'image' must hold an image", "key"),
        (
            covt(conversations="[]", image={"bytes": png_header(50_000, 50_000), "path": ""}),
            "pixels",
            "image too large",
        ),
    ],
)
def test_a_bad_cell_of_covt_is_refused_with_file_and_row(tmp_path, bad, message, problem):
    good = covt()
    good["conversations"] = json.dumps(good["conversations"])
    rows = load_trajectories(f"covt:{table(tmp_path / 'train.parquet', good, bad)}")
    assert rows[0].answer == "Near."
    refused(rows, "train.parquet[1]", message, problem)
