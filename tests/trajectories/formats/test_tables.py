"""Data sets of the hub: a revision is a must; instead of a network, ``datasets`` is given local files."""

from __future__ import annotations

import pickle

import datasets
import pytest

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.load import load_trajectories
from tests.trajectories.formats.files import example, make_root, png, write_example, write_table


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve OWNER/thinkmorph and OWNER/covt from folders; return what was asked for."""
    root, asked = make_root(tmp_path), []
    write_example("thinkmorph", root)
    write_example("covt", root)
    chat = example("messages") | {"images": [{"bytes": png(), "path": None}]}
    write_table(root / "messages" / "train.parquet", chat, chat, chat)
    load = datasets.load_dataset

    def served(name: str, *, revision: str, split: str) -> object:
        asked.append((name, revision, split))
        files = {"train": str(root / name.partition("/")[2] / "*.parquet")}
        return load("parquet", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", served)
    return asked


@pytest.mark.parametrize("name", ["thinkmorph", "covt", "messages"])
def test_a_pinned_data_set_is_read_as_its_files_are(hub, tmp_path, name):
    rows = load_trajectories(f"{name}:hf://owner/{name}@abc123#split=train")
    local = load_trajectories(f"{name}:{tmp_path / 'data' / name}")
    assert hub == [(f"owner/{name}", "abc123", "train")]
    assert rows.place(1) == f"hf://owner/{name}@abc123[1]"
    assert [(one.question, one.answer) for one in rows] == [(one.question, one.answer) for one in local]
    assert rows[2].images[0].encoded() == local[2].images[0].encoded()
    assert "red" in pickle.loads(pickle.dumps(rows))[0].answer


def test_a_data_set_from_the_hub_needs_a_revision(hub):
    for bad in ("hf://owner/thinkmorph", "hf://thinkmorph@main", "hf://owner/x@", "hf://../x@main/.."):
        with pytest.raises(DataError, match=r"is named hf://OWNER/NAME@REVISION"):
            load_trajectories(f"thinkmorph:{bad}")


def test_a_data_set_that_cannot_be_loaded_is_one_message(hub):
    with pytest.raises(DataError, match=r"hf://owner/thinkmorph@main, split 'test', cannot be loaded: "):
        load_trajectories("thinkmorph:hf://owner/thinkmorph@main#split=test")


def test_a_local_folder_of_the_same_name_is_not_read_instead_of_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "thinkmorph").mkdir(parents=True)
    with pytest.raises(DataError, match="is also a folder here"):
        load_trajectories("thinkmorph:hf://owner/thinkmorph@main")


def test_file_formats_explain_how_to_download_them():
    with pytest.raises(DataError, match=r"lvr reads files; download them with `hf download .* owner/x --revision v1"):
        load_trajectories("lvr:hf://owner/x@v1")
