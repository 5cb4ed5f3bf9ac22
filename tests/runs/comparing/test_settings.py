from __future__ import annotations

import pytest

from jepa_vlm.errors import RecipeError, UnknownNameError
from jepa_vlm.runs.settings import REGIMES, CompareSettings


def test_the_three_regimes_are_the_default_columns():
    assert CompareSettings(entries=("sft",)).benchmarks == REGIMES
    assert CompareSettings(entries=("sft",), on=("playground:maze",)).benchmarks == ("playground:maze",)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"questions": 0}, ValueError, "questions must be at least 1"),
        ({"match": "flop"}, UnknownNameError, "Did you mean 'flops'"),
        ({"scoring": "letters"}, UnknownNameError, "letter-logits"),
        ({"training": {"seed": 3}}, RecipeError, "seed is not a setting"),
        ({"on": ("playground:maze", "playground:maze")}, RecipeError, "twice"),
    ],
)
def test_refusals(more, error, message):
    with pytest.raises(error, match=message):
        CompareSettings(entries=("sft",), **more)
