"""What is stored comes back; what is not, or not of this making, is refused with both sides named."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jepa_vlm.errors import DataError, RunError
from jepa_vlm.serialization import TargetStore

KEY = {"weights": "abc", "readout": "last_token"}


def digest(number: int) -> bytes:
    return bytes([number]) * 32


def latents(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.bfloat16)[:, None] + torch.tensor([0.0, 0.5], dtype=torch.bfloat16)


@pytest.fixture
def filled(tmp_path: Path) -> TargetStore:
    """Examples 1 to 3 in two files."""
    store = TargetStore(folder=tmp_path / "targets", key=KEY)
    store.begin()
    store.add([digest(2), digest(0)], latents(2, 0))
    store.add([digest(1)], latents(1))
    store.finish()
    return store


def test_stored_targets_are_read_in_the_requested_order(filled: TargetStore) -> None:
    for store in (filled, pickle.loads(pickle.dumps(filled))):
        found = store.read([digest(n) for n in (1, 2, 1, 0)], ["a", "b", "c", "d"])
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, latents(1, 2, 1, 0))
        assert len(store) == 3


def test_of_equal_examples_only_the_first_is_missing_from_the_store(filled: TargetStore) -> None:
    assert filled.missing([digest(n) for n in (5, 1, 5, 4, 2)]) == [0, 3]


def test_an_example_that_is_not_stored_is_counted_and_named(filled: TargetStore) -> None:
    with pytest.raises(DataError, match=r"2 of 4 trajectories have no target in .*targets, 'b' first"):
        filled.read([digest(n) for n in (1, 8, 2, 9)], ["a", "b", "c", "d"])


def test_a_target_store_of_another_key_is_refused_with_the_difference(filled: TargetStore) -> None:
    other = TargetStore(folder=filled.folder, key={"weights": "xyz", "readout": "last_token"})
    for ask in (other.is_complete, lambda: other.read([digest(1)], ["a"])):
        with pytest.raises(RunError, match=r"of another making\. weights: stored abc, asked xyz\. Give") as error:
            ask()
        assert "readout" not in str(error.value)


def test_no_target_is_read_before_all_are_stored(tmp_path: Path) -> None:
    store = TargetStore(folder=tmp_path / "targets", key=KEY)
    assert not store.is_complete()
    with pytest.raises(RunError, match="not computed yet"):
        store.read([digest(1)], ["a"])
    store.begin()
    store.add([digest(1)], latents(1))
    assert not store.is_complete()
    with pytest.raises(RunError, match="not computed yet"):
        store.read([digest(1)], ["a"])
    store.begin()  # going on keeps what is there
    assert store.missing([digest(1), digest(2)]) == [1]


def test_a_killed_writer_leaves_only_whole_target_files(filled: TargetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(tensors: object, path: Path, **kwargs: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    before = sorted(filled.folder.iterdir())
    monkeypatch.setattr("safetensors.torch.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        filled.add([digest(7)], latents(7))
    assert sorted(filled.folder.iterdir()) == before
    (filled.folder / "targets-0.safetensors.1.part").write_bytes(b"half")  # what kill -9 leaves
    assert TargetStore(folder=filled.folder, key=KEY).missing([digest(1), digest(7)]) == [1]


def test_a_folder_that_is_no_target_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "holiday.jpg"):
        with pytest.raises(RunError, match=r"is not empty and holds no targets"):
            TargetStore(folder=folder, key=KEY).is_complete()


@pytest.mark.parametrize("text", ["{", "[]", '{"complete": true}', '{"key": 3, "complete": true}'])
def test_a_damaged_target_store_is_named(filled: TargetStore, text: str) -> None:
    (filled.folder / "store.json").write_text(text)
    with pytest.raises(RunError, match=r"store\.json is damaged"):
        filled.is_complete()


def test_a_damaged_or_foreign_target_file_is_named(filled: TargetStore) -> None:
    path = next(filled.folder.glob("*.safetensors"))
    save_file(load_file(path), path, metadata={"key": "another"})
    with pytest.raises(RunError, match="belongs to other targets"):
        TargetStore(folder=filled.folder, key=KEY).missing([digest(1)])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunError, match="cannot be read"):
        TargetStore(folder=filled.folder, key=KEY).missing([digest(1)])
