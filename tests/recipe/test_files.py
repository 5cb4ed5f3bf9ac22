"""Recipe files are found and described without being run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.recipe import files
from jepa_vlm.recipe.files import describe_recipe, list_recipes


def test_shipped_recipes_are_listed_with_their_first_line():
    found = {file.name: file.summary for file in list_recipes()}
    assert set(found) >= {"coconut", "lvr", "mirage", "pearl", "pearl_released", "pixel_reasoner", "sft"}
    assert all(found.values())


def test_parameters_of_a_recipe_are_listed_as_they_are_written():
    parameters = {p.name: (p.annotation, p.default) for p in describe_recipe("pearl").parameters}
    assert parameters["tokens"] == ("int", "4")
    assert parameters["weight"] == ("float", "0.2")


def test_a_misspelt_recipe_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'pearl'"):
        describe_recipe("perl")


def test_a_wheel_brings_its_own_folder(tmp_path, monkeypatch):
    wheel = tmp_path / "_recipes"
    wheel.mkdir()
    (wheel / "mine.py").write_text('"""Mine."""\n\n\ndef recipe(*, k: int = 3): ...\n')
    monkeypatch.setattr(files, "IN_WHEEL", wheel)
    assert [file.name for file in list_recipes()] == ["mine"]


def test_describing_does_not_run_the_file(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text('"""Loud."""\nraise SystemExit("ran")\n\ndef recipe(*, k: int, name: str = "a"): ...\n')
    file = describe_recipe(path)
    assert [(p.name, p.default) for p in file.parameters] == [("k", None), ("name", "'a'")]


@pytest.mark.parametrize(("text", "message"), [("def recipe(:", "not valid Python"), ("x = 1", "needs a function")])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        describe_recipe(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.py does not exist"):
        describe_recipe(tmp_path / "nowhere.py")


def test_listing_imports_no_torch():
    code = "import sys; from jepa_vlm.recipe import list_recipes; list_recipes(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
