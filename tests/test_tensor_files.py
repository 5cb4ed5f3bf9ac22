"""Tensor files have the mode that the umask gives, as every other file has."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import load_file

from jepa_vlm.tensor_files import write_tensors


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_umask_decides_who_may_read(tmp_path, mask, mode):
    path, before = tmp_path / "a.safetensors", os.umask(mask)
    try:
        write_tensors(path, {"a": torch.arange(6.0).reshape(2, 3).T})
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert torch.equal(load_file(path)["a"], torch.arange(6.0).reshape(2, 3).T)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
