from __future__ import annotations

import json

import pytest

from jepa_vlm.errors import RunError
from jepa_vlm.runs.comparing.entries import CompareFolder

SETTINGS, ARMS = {"match": "steps", "steps": 4}, {"sft": {"recipe": "Recipe(a)", "data": "x"}}


@pytest.fixture
def folder(tmp_path):
    return CompareFolder(path=tmp_path / "out")


def test_the_same_settings_and_more_arms_go_on(folder):
    folder.hold(SETTINGS, ARMS)
    folder.hold(SETTINGS, {"pearl": {"recipe": "Recipe(b)", "data": "x"}})
    folder.hold(SETTINGS, ARMS)
    assert set(json.loads(folder.settings.read_text())["arms"]) == {"sft", "pearl"}


@pytest.mark.parametrize(
    ("settings", "arms", "message"),
    [
        ({**SETTINGS, "steps": 5}, ARMS, "has steps = 4, this command 5"),
        ({"match": "steps"}, ARMS, "has steps = 4, this command None"),
        ({**SETTINGS, "dtype": "bfloat16"}, ARMS, "has dtype = None, this command 'bfloat16'"),
        (SETTINGS, {"sft": {"recipe": "Recipe(c)", "data": "x"}}, r"has sft: recipe = 'Recipe\(a\)'"),
    ],
)
def test_changed_settings_are_refused_and_nothing_is_written(folder, settings, arms, message):
    folder.hold(SETTINGS, ARMS)
    before = folder.settings.read_text()
    with pytest.raises(RunError, match=message):
        folder.hold(settings, arms)
    assert folder.settings.read_text() == before


def test_a_folder_of_something_else_is_refused(folder):
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="not a comparison"):
        folder.hold(SETTINGS, ARMS)
    (folder.path / "settings.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        folder.hold(SETTINGS, ARMS)


def test_one_process_at_a_time_works_in_it(folder):
    with folder.alone():
        folder.hold(SETTINGS, ARMS)
        again = CompareFolder(path=folder.path)
        with pytest.raises(RunError, match=r"Another process works on the comparison in .*out; wait"), again.alone():
            pass
    with CompareFolder(path=folder.path).alone():
        folder.hold(SETTINGS, ARMS)


def test_a_folder_of_something_else_gets_no_lock(folder):
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="not a comparison"), folder.alone():
        pass
    assert [path.name for path in folder.path.iterdir()] == ["thesis.tex"]
