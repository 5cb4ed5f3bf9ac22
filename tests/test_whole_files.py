"""Files and folders are written whole or not at all, with the mode that the umask gives."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import load_file

from jepa_vlm.whole_files import whole, write_tensors, write_whole


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_modes_of_written_files_follow_the_umask(tmp_path, mask, mode):
    path, before = tmp_path / "a.safetensors", os.umask(mask)
    try:
        write_tensors(path, {"a": torch.arange(6.0).reshape(2, 3).T})
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert torch.equal(load_file(path)["a"], torch.arange(6.0).reshape(2, 3).T)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, folder):
    def interrupted() -> None:
        with whole(tmp_path / "new" / "b") as part:
            if folder:
                part.mkdir()
            (part / "half" if folder else part).touch()
            raise KeyboardInterrupt

    write_whole(tmp_path / "new" / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(p.name, p.read_text()) for p in (tmp_path / "new").iterdir()] == [("a", "old")]
