from __future__ import annotations

import pytest

from jepa_vlm.errors import ExportError, UnknownNameError
from jepa_vlm.generation import Latents, Plain, Tools
from jepa_vlm.training.checkpoint import read_inference, write_inference


def test_a_plain_folder_has_no_file(tmp_path):
    write_inference(tmp_path, Plain())
    assert list(tmp_path.iterdir()) == []
    assert read_inference(tmp_path) == Plain()


def test_any_other_way_is_read_back(tmp_path):
    for way in (Tools(), Tools("pixel-reasoner"), Latents(steps=3), Plain(prefix="so: <a><a>", tokens=("<a>",))):
        write_inference(tmp_path, way)
        assert read_inference(tmp_path) == way


@pytest.mark.parametrize(
    ("written", "way"),
    [
        ('{"inference": "tools"}', Tools()),
        (
            '{"inference": "latents", "decoding": {"steps": 4, "start": "<s>", "end": "<e>", "after": "\\n", '
            '"leave": "count", "entry": "model", "control": "none", "seed": 0, "head": null}}',
            Latents(steps=4, start="<s>", end="<e>", entry="model"),
        ),
        ('{"inference": "plain", "opening": {"text": "<a> b", "tokens": ["<a>"]}}', Plain("<a> b", ("<a>",))),
    ],
)
def test_files_of_earlier_versions_are_read(tmp_path, written, way):
    (tmp_path / "inference.json").write_text(written)
    assert read_inference(tmp_path) == way


def test_an_unknown_way_is_refused(tmp_path):
    (tmp_path / "inference.json").write_text('{"inference": "tool"}')
    with pytest.raises(UnknownNameError, match="Did you mean 'tools'"):
        read_inference(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"inference": 3}', '{"way": "tools"}', '{"inference": "plain", "opening": {"text": "<a>"}}']
)
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "inference.json").write_text(text)
    with pytest.raises(ExportError, match="must be"):
        read_inference(tmp_path)
