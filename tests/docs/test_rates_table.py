"""The table of rates, schedules, batches and lengths in docs/method.md: what is recorded there is what recipes have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jepa_vlm as jv
from jepa_vlm.recipe import list_recipes

PAGE = Path(__file__).parents[2].joinpath("docs", "method.md").read_text(encoding="utf-8")
TABLE = PAGE.split("| recipe | from | rate |")[1].split("\n\n")[0]
ROWS = {cells[0].strip("` "): cells[1:] for line in TABLE.splitlines()[2:] if (cells := line.strip("| ").split(" | "))}
ELSEWHERE = {"sft", "pearl", "next_latent", "vl_jepa"}  # no code of their own


def ours(cell: str) -> str:
    """What stands behind ``here``, or else what was released; without its footnote."""
    return cell.rpartition("here ")[2].partition(" (")[0]


def test_every_recipe_has_a_row_and_every_row_a_source():
    assert set(ROWS) == {file.name for file in list_recipes()}
    for name in set(ROWS) - ELSEWHERE:
        assert re.search(r"`[\w-]+/[\w.-]+@[0-9a-f]{7}`, \S+\.(py|sh)", ROWS[name][0]), name


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_has_the_recorded_values(name):
    recipe = jv.load_recipe(name)
    _, rate, schedule, warmup, decay, clip, batch, length = map(ours, ROWS[name])
    published = recipe.published
    assert published.learning_rate == float(rate)
    assert recipe.schedule == schedule
    steps = warmup.removesuffix(" steps")
    assert recipe.warmup == (float(warmup) if steps == warmup else int(steps))
    assert recipe.weight_decay == float(decay)
    assert recipe.max_grad_norm == (0 if clip == "none" else float(clip))
    assert [published.batch_size, published.accumulation] == [int(number) for number in batch.split(" x ")[:2]]
    assert published.steps == int(length.removesuffix(" steps").replace(",", ""))


def test_the_values_that_peers_record():
    """Read in their files, at the commits that the table names: rate, schedule, warm-up, decay, clipping."""
    read = {
        "lvr": ("1e-5", "cosine", "0.03", "0.1", "1"),
        "mirage": ("1e-5", "linear", "10 steps", "0.01", "1"),
        "coconut": ("1e-4", "constant", "0", "0.01", "none"),
        "pixel_reasoner": ("1e-6", "cosine", "0.1", "0", "1"),
        "llm_jepa": ("2e-5", "linear", "0", "0", "1"),
        "pearl_released": ("1e-5", "cosine", "0.05 (0.3 on PixelReasoner's data)", "0.1", "1"),
        "covt": ("5e-5", "cosine", "0.05", "0.1", "1"),
    }
    assert {name: tuple(ROWS[name][1:6]) for name in read} == read
