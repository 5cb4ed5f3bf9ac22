"""load_recipe runs a file with checked parameters."""

from __future__ import annotations

import pickle

import pytest

import jepa_vlm as jv
from jepa_vlm.errors import RecipeError, UnknownNameError

FILE = '''
"""Mine."""
from __future__ import annotations

from typing import Literal

import jepa_vlm as jv


def recipe(*, rank: int = 4, rate: float = 1e-3, on: bool = False, kind: Literal["a", "b"] = "a", top: int | None = 1):
    return jv.Recipe(
        objective=jv.NextToken(),
        lora=jv.Lora(rank=rank, alpha=99 if on else 1),
        learning_rate=rate,
        schedule={"a": "cosine", "b": "linear"}[kind],
        steps=top or 77,
    )
'''


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_recipe_parameters_given_as_text_are_converted_by_annotation(mine):
    recipe = jv.load_recipe(mine, rank="8", rate="2e-4", on="true", kind="b", top="none")
    assert (recipe.lora, recipe.learning_rate) == (jv.Lora(rank=8, alpha=99), 2e-4)
    assert (recipe.schedule, recipe.steps) == ("linear", 77)


def test_recipe_parameters_of_the_right_type_are_kept(mine):
    assert jv.load_recipe(str(mine), rank=2, rate=1, on=True, top=None).lora == jv.Lora(rank=2, alpha=99)


@pytest.mark.parametrize(
    "wrong", [{"rank": "x"}, {"rank": 2.5}, {"rank": True}, {"rate": "fast"}, {"on": "maybe"}, {"kind": "c"}]
)
def test_a_recipe_parameter_of_a_wrong_type_is_refused_with_the_expected_type(mine, wrong):
    with pytest.raises(RecipeError, match=f"'{next(iter(wrong))}'.* must be"):
        jv.load_recipe(mine, **wrong)


def test_an_unknown_recipe_parameter_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'tokens'"):
        jv.load_recipe("pearl", token=8)


def test_a_value_that_the_recipe_refuses_is_a_recipe_error(mine):
    with pytest.raises(RecipeError, match="rank=0: rank must be at least 1"):
        jv.load_recipe(mine, rank=0)


def test_a_recipe_file_that_returns_no_recipe_is_refused(tmp_path):
    path = tmp_path / "none.py"
    path.write_text("def recipe():\n    return 3\n")
    with pytest.raises(RecipeError, match=r"must return a jepa_vlm\.Recipe, got int"):
        jv.load_recipe(path)


def test_a_recipe_that_fails_while_it_is_built_shows_the_error(tmp_path):
    path = tmp_path / "key.py"
    path.write_text("def recipe():\n    return {}['x']\n")
    with pytest.raises(RecipeError, match=r"with its defaults: KeyError: 'x'"):
        jv.load_recipe(path)


PARTS = '''
"""A recipe that brings a part of its own."""
from __future__ import annotations

from dataclasses import dataclass

import jepa_vlm as jv


@dataclass(frozen=True)
class Reader:
    """Travels to the workers that load data."""

    side: int = 7


def recipe():
    objective = jv.NextToken()
    objective.reader = Reader()
    return jv.Recipe(objective=objective)
'''


def test_a_recipe_file_may_define_its_own_components(tmp_path):
    readers = []
    for folder, side in (("one", 7), ("other", 8)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "parts.py"
        path.write_text(PARTS.replace("7", str(side)))
        readers.append(jv.load_recipe(path).objective.terms["next_token"].reader)
    jv.load_recipe(path)  # once more, as a comparison does: parts of before are still of the same kind
    assert [pickle.loads(pickle.dumps(reader)).side for reader in readers] == [7, 8]


def test_a_recipe_file_that_fails_on_import_shows_the_error(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_like_this\n\n\ndef recipe(): ...\n")
    with pytest.raises(RecipeError, match="ModuleNotFoundError"):
        jv.load_recipe(path)


def test_an_annotation_that_exists_only_for_type_checkers_is_refused_as_such(tmp_path):
    path = tmp_path / "typed.py"
    path.write_text(FILE.replace("from typing import Literal\n", "from typing import TYPE_CHECKING\n"))
    with pytest.raises(RecipeError, match="names 'Literal', which the file does not import when"):
        jv.load_recipe(path)
