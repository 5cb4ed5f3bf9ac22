"""The table of objectives names every component, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jepa_vlm as jv
from jepa_vlm import losses, predictors, regularizers, views
from jepa_vlm.views import READOUTS, TargetPolicy

PAGE = Path(__file__).parents[2].joinpath("docs", "objectives.md").read_text(encoding="utf-8")
ABSTRACT = {"LatentLoss", "Predictor", "Regularizer", "View"}
COMPONENTS = [
    name
    for package in (losses, predictors, regularizers)
    for name in package.__all__
    if isinstance(getattr(package, name), type) and name not in ABSTRACT
]
POLICIES = [name for name in views.__all__ if name in {"cached", "ema", "frozen", "stop_gradient", "with_gradient"}]


@pytest.mark.parametrize("name", [*COMPONENTS, *POLICIES])
def test_the_page_names_every_component(name):
    assert f"`{name}(" in PAGE or f"`{name}`" in PAGE


@pytest.mark.parametrize("readout", READOUTS)
def test_the_page_names_every_readout(readout):
    assert f'`"{readout}"`' in PAGE


def test_there_are_policies():
    made = [getattr(views, name)(*(["targets"] if name == "cached" else [])) for name in POLICIES]
    assert all(isinstance(policy, TargetPolicy) for policy in made)
    assert len(POLICIES) == 5


def test_the_example_runs():
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    names = {}
    exec(code, names)  # noqa: S102 - the page's own example
    assert isinstance(names["objective"], jv.Objective)
    assert names["objective"].weights == {"next_token": 1.0, "latent_prediction": 0.2, "next_latent": 0.2}
