"""What a run recorded, as it is read again."""

from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import RunError
from jepa_vlm.training.run_config import RunConfig


def test_settings_and_parameters_are_read_by_name(tmp_path):
    record = {
        "steps": {"value": 5, "origin": "user"},
        "parameter.tokens": {"value": "8", "origin": "user"},
        "examples": {"train": 8, "validation": 2},
    }
    (tmp_path / "config.json").write_text(json.dumps(record))
    config = RunConfig.read(tmp_path)
    assert config.values == {"steps": 5, "parameter.tokens": "8"}
    assert config.parameters == {"tokens": "8"}
    assert not config.of_run
    assert RunConfig(tmp_path, {**record, "objective": "NextToken()"}).of_run


@pytest.mark.parametrize(
    ("text", "message"), [(None, "holds no run"), ("{", "is not JSON"), ("[]", "must hold a JSON object, got list")]
)
def test_a_missing_or_damaged_file_is_one_message(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=message):
        RunConfig.read(tmp_path)
