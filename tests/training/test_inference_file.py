from __future__ import annotations

import pytest

from jepa_vlm.errors import ExportError
from jepa_vlm.training.inference_file import read_inference, write_inference


def test_a_plain_folder_has_no_file(tmp_path):
    write_inference(tmp_path, "plain")
    assert list(tmp_path.iterdir()) == []
    assert read_inference(tmp_path) == "plain"


def test_any_other_way_is_read_back(tmp_path):
    write_inference(tmp_path, "tools")
    assert read_inference(tmp_path) == "tools"


@pytest.mark.parametrize("text", ["", "[]", '{"inference": 3}', '{"way": "tools"}'])
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "inference.json").write_text(text)
    with pytest.raises(ExportError, match="must be"):
        read_inference(tmp_path)
