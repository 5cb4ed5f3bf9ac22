from __future__ import annotations

import pytest

from jepa_vlm.errors import ExportError
from jepa_vlm.recipe import LatentDecoding, Opening
from jepa_vlm.training.inference_file import Inference, read_inference, write_inference


def test_a_plain_folder_has_no_file(tmp_path):
    write_inference(tmp_path, Inference())
    assert list(tmp_path.iterdir()) == []
    assert read_inference(tmp_path) == ("plain", None, None)


def test_any_other_way_is_read_back(tmp_path):
    write_inference(tmp_path, Inference("tools"))
    assert read_inference(tmp_path) == ("tools", None, None)
    thinking = Inference("latents", LatentDecoding(steps=3))
    write_inference(tmp_path, thinking)
    assert read_inference(tmp_path) == thinking
    writing = Inference(opening=Opening(text="so: <a><a>", tokens=("<a>",)))
    write_inference(tmp_path, writing)
    assert read_inference(tmp_path) == writing


@pytest.mark.parametrize(
    "text", ["", "[]", '{"inference": 3}', '{"way": "tools"}', '{"inference": "plain", "opening": {"text": "<a>"}}']
)
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "inference.json").write_text(text)
    with pytest.raises(ExportError, match="must be"):
        read_inference(tmp_path)
