"""The native store: what is written is read back, each image once and byte for byte, and no part of a store is seen."""

from __future__ import annotations

import json
import pickle
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jepa_vlm import playground
from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box, LazyImage, Step, Trajectory
from jepa_vlm.trajectories.formats import read_jsonl, write_jsonl, write_store
from jepa_vlm.trajectories.formats.store import StoreRecords
from jepa_vlm.trajectories.load import load_trajectories
from jepa_vlm.trajectories.rows import Joined
from tests.trajectories.formats.files import write_list
from tests.trajectories.formats.test_lvr import row as lvr_row

WORDS = ("id", "question", "answer", "task", "system")


@pytest.fixture
def rows(tmp_path):
    return read_jsonl(write_jsonl(playground.trajectories("sequential-crops", count=7), tmp_path / "j" / "train.jsonl"))


@pytest.mark.parametrize(("group", "shard"), [(2, 3), (256, 65_536)])
def test_trajectories_written_to_a_store_are_read_back(tmp_path, monkeypatch, rows, group, shard):
    module = sys.modules[write_store.__module__]
    monkeypatch.setattr(module, "ROW_GROUP", group)
    monkeypatch.setattr(module, "ROW_SHARD", shard)
    monkeypatch.setattr(module, "IMAGE_GROUP", 5 * group)
    monkeypatch.setattr(module, "IMAGE_SHARD", 500 * shard)
    done = write_store(rows, tmp_path / "store", source="test")
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")
    assert (done.rows, len(read), read.ids) == (7, 7, rows.ids)
    for before, after in zip(rows, read, strict=True):
        assert [getattr(before, name) for name in WORDS] == [getattr(after, name) for name in WORDS]
        for one, other in zip(before.steps, after.steps, strict=True):
            assert (one.text, one.call, one.observation) == (other.text, other.call, other.observation)
        assert [i.encoded() for i in before.all_images] == [i.encoded() for i in after.all_images]
        assert [i.size for i in before.all_images] == [i.size for i in after.all_images]
    assert pickle.loads(pickle.dumps(read))[6].images[0].load().size == read[6].images[0].size
    assert read.place(6).endswith("[6]" if shard > 7 else "rows-00001.parquet[2]")


def test_image_positions_and_words_that_look_like_placeholders_are_read_back(tmp_path):
    one, other = (LazyImage(pixels=Image.new("RGB", (8, size), "blue")) for size in (4, 6))
    steps = (Step("", image=other, observation="See: ", image_place=5), Step("An <image>."))
    asked = [
        {"question": "Is  like ?", "image_places": (3, 9)},
        {"question": "Which? ", "image_places": (7, 7)},
        {"question": "Is <image> a tag?"},
        {"question": "Is <image> a tag of ?", "image_places": (0, 20), "keep": ("<|box_start|>",)},
        {"question": ""},
    ]
    held = [Trajectory(str(i), (one, other), steps=steps, answer="yes", **changes) for i, changes in enumerate(asked)]
    rows = read_jsonl(write_jsonl(held, tmp_path / "x.jsonl"))
    write_store(rows, tmp_path / "store")

    def content(trajectory):
        parts = [trajectory.asked, *(step.shown for step in trajectory.steps)]
        return [[part if isinstance(part, str) else part.load().size for part in own] for own in parts]

    for read in (rows, load_trajectories(f"parquet:{tmp_path / 'store'}")):
        assert [content(one) for one in read] == [content(one) for one in held]
        assert [(one.keep, one.notes) for one in read] == [(one.keep, ()) for one in held]


def test_an_older_store_s_placeholders_are_read_or_refused(tmp_path, rows):
    write_store(rows, tmp_path / "store")
    shard = tmp_path / "store" / "rows-00000.parquet"
    table = pq.read_table(shard).to_pylist()
    held = json.loads(table[0]["trajectory"])
    table[0]["trajectory"] = json.dumps(held | {"question": "Is <image> red?"})
    table[2]["trajectory"] = json.dumps(held | {"question": "Is <image> <image>?", "images": held["images"] * 2})
    pq.write_table(pa.Table.from_pylist(table), shard)
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")
    with pytest.raises(
        DataError, match=r"rows-00000\.parquet\[0\]: key 'question' holds 1 <image> for 1 images.*write the question in"
    ):
        read[0]
    assert (read[2].question, read[2].image_places) == ("Is  ?", (3, 4))


def test_opening_a_store_reads_no_row_and_the_first_row_reads_one_group(tmp_path, monkeypatch, rows):
    module = sys.modules[write_store.__module__]
    monkeypatch.setattr(module, "ROW_GROUP", 2)
    monkeypatch.setattr(module, "IMAGE_GROUP", 1)
    write_store(rows, tmp_path / "store")
    groups, columns = [], []
    read_group, read_table = pq.ParquetFile.read_row_group, pq.read_table
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: groups.append(a[1]) or read_group(*a, **k))
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: columns.append(k["columns"]) or read_table(*a, **k))
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")
    assert (groups, columns) == ([], [])
    first = read[4]
    assert (groups, columns) == ([2], [["width"], ["height"], ["sha256"]])  # sizes are known without any image's bytes
    first.images[0].load()
    assert len(groups) == 2


def test_an_image_is_stored_once_and_a_crop_is_a_part_of_it(tmp_path, root):
    path = write_list(root / "x.json", *(lvr_row() for _ in range(5)))
    done = write_store(load_trajectories(f"lvr:{path}"), tmp_path / "store")
    assert (done.images, done.repeated) == (1, 9)
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")[4]
    assert read.images[0].encoded() == (root / "a.png").read_bytes()
    assert read.steps[0].image.load().size == read.steps[0].image.size == (20, 20)
    assert read.steps[0].spoken.startswith("Now I will focus")


def test_images_in_memory_and_resized_images_are_stored_as_png(tmp_path, monkeypatch):
    pixels = Image.new("RGB", (8, 6), "blue")
    crop = LazyImage(pixels=pixels, region=Box(0, 0, 4, 3, relative=False))
    small = LazyImage(pixels=pixels, resized=(4, 4))
    steps = (Step("a", image=crop), Step("b", image=small), Step("c"))
    held = [Trajectory("x", (LazyImage(pixels=pixels),), "Q?", steps, "c")]
    rows = read_jsonl(write_jsonl(held, tmp_path / "x.jsonl"))
    monkeypatch.setattr(type(rows), "read", lambda self, index: held[index])
    assert write_store(rows, tmp_path / "store").images == 2
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")[0]
    assert [image.size for image in read.all_images] == [(8, 6), (4, 3), (4, 4)]
    assert [image.load().size for image in read.all_images] == [(8, 6), (4, 3), (4, 4)]


def test_bad_rows_stop_the_writing_or_are_left_out_and_counted(tmp_path, root):
    path = write_list(root / "x.json", lvr_row(), lvr_row(image=["gone.png"]), lvr_row(), lvr_row(bboxes=[]))
    rows = load_trajectories(f"lvr:{path}")
    with pytest.raises(DataError, match=r"x\.json\[1\]: .*does not exist"):
        write_store(rows, tmp_path / "store")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "secret.png"]
    done = write_store(rows, tmp_path / "store", skip_bad=True)
    assert (done.rows, done.skipped) == (2, {"image missing": 1, "placeholder": 1})
    assert load_trajectories(f"parquet:{tmp_path / 'store'}").dropped == done.skipped
    with pytest.raises(DataError, match="exists; name a new folder"):
        write_store(rows, tmp_path / "store")
    with pytest.raises(DataError, match="No row is left to write"):
        write_store(rows[1:2], tmp_path / "other", skip_bad=True)


def test_two_rows_with_one_id_are_refused(tmp_path, rows):
    with pytest.raises(DataError, match=r"train\.jsonl:1: id .* is taken by an earlier row; convert .* one by one"):
        write_store(Joined([rows, rows]), tmp_path / "store")


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is no store: it has no store\.json"):
        load_trajectories(f"parquet:{tmp_path}")
    for index, message in (
        ('{"version": 9}', "the store has version 9; this reads 1"),
        ("{", "not valid JSON"),
        ('{"version": 1, "rows": [true], "images": []}', "an entry of key 'rows' must be a whole number"),
    ):
        (tmp_path / "store.json").write_text(index)
        with pytest.raises(DataError, match=rf"store\.json: .*{message}"):
            load_trajectories(f"parquet:{tmp_path}")


@pytest.mark.parametrize("kind", ["rows", "images"])
def test_a_shard_of_another_length_than_stated_is_refused(tmp_path, rows, kind):
    write_store(rows, tmp_path / "store")
    index = tmp_path / "store" / "store.json"
    held = json.loads(index.read_text())
    index.write_text(json.dumps(held | {kind: [held[kind][0] + 1]}))
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")
    with pytest.raises(DataError, match=rf"{kind}-00000\.parquet has \d+ rows, but store\.json says \d+"):
        read[0]
    with pytest.raises(DataError, match="write the store anew"):
        _ = read.ids if kind == "rows" else read[1]


def test_a_row_that_was_tampered_with_is_refused_with_its_place(tmp_path, rows):
    write_store(rows, tmp_path / "store")
    shard = tmp_path / "store" / "rows-00000.parquet"
    table = pq.read_table(shard).to_pylist()
    values = json.loads(table[1]["trajectory"])
    bad = [*(values | {"images": [one]} for one in (999, True, {"image": 0, "region": [1]})), "["]
    said = ["image 999 is not among", "must be a whole number", "four finite", "not valid JSON"]
    for index, one in enumerate(bad):
        table[index]["trajectory"] = one if one == "[" else json.dumps(one)
    pq.write_table(pa.Table.from_pylist(table), shard)
    read = load_trajectories(f"parquet:{tmp_path / 'store'}")
    for index, message in enumerate(said):
        with pytest.raises(DataError, match=rf"rows-00000\.parquet\[{index}\]: .*{message}"):
            read[index]
    images = tmp_path / "store" / "images-00000.parquet"
    table = pq.read_table(images).to_pylist()
    pq.write_table(pa.Table.from_pylist([one | {"width": 3} for one in table]), images)
    lying = StoreRecords(tmp_path / "store")
    with pytest.raises(DataError, match=r"has the size .* but \(3, \d+\) is stated"):
        lying.image(0, origin="x").load()
