"""Names load when they are asked for, and unknown ones are no attributes."""

from __future__ import annotations

import sys

import pytest

import jepa_vlm
from jepa_vlm import lazy
from jepa_vlm.lazy import on_first_use


def test_a_lazy_module_is_imported_on_first_use_of_a_name(tmp_path, monkeypatch):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text(
        'from jepa_vlm.lazy import on_first_use\n__getattr__ = on_first_use(__name__, {"x": "home", "home": ""})\n'
    )
    (tmp_path / "pack/home.py").write_text("x = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        import pack

        assert "pack.home" not in sys.modules
        assert pack.x == 3
        assert pack.home.x == 3
        with pytest.raises(AttributeError, match="module 'pack' has no attribute 'y'"):
            _ = pack.y
    finally:
        for name in ("pack", "pack.home"):
            sys.modules.pop(name, None)


def test_a_lazy_entry_without_a_name_is_the_module_itself():
    assert on_first_use("jepa_vlm", {"lazy": ""})("lazy") is lazy is jepa_vlm.lazy
