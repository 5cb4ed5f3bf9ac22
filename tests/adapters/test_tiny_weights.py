"""The shipped backbone: stock transformers reads it, it is small, and it sees, but not on blanked pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from scipy.stats import binom
from transformers import AutoModelForImageTextToText

import jepa_vlm as jv
from benchmarks.learning.controls import blanked
from benchmarks.pretrain_tiny.lessons import lessons
from jepa_vlm import playground
from jepa_vlm.adapters.loading import WEIGHTS
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.generation import answer_letters
from jepa_vlm.trajectories import MultipleChoice

NAME = "tiny-qwen2.5-vl"
FOLDER = WEIGHTS / NAME
COUNT = 60
SEEN = ("visual-search", "relative-position", "sequential-crops", "chart-reading", "jigsaw", "maze")


@pytest.fixture(scope="module")
def backbone() -> jv.Backbone:
    return jv.load_backbone(NAME)


def right(backbone: jv.Backbone, items: list[MultipleChoice]) -> int:
    answers = answer_letters(backbone, items, batch_size=40)
    return sum(answer.letter == item.letters[item.answer] for answer, item in zip(answers, items, strict=True))


def test_stock_transformers_loads_the_bundled_model_and_computes_the_same(backbone: jv.Backbone) -> None:
    stock = AutoModelForImageTextToText.from_pretrained(FOLDER, dtype=torch.float32).eval()
    chat = [{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (112, 112))}]}]
    batch = load_processor(str(FOLDER)).apply_chat_template(
        chat, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    with torch.no_grad():
        torch.testing.assert_close(stock(**batch).logits, backbone.model(**batch).logits)


def test_the_bundled_model_is_small_and_holds_no_code() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(files.values()) < 16e6
    assert {Path(name).suffix for name in files} == {".json", ".jinja", ".safetensors", ".md"}
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_the_bundled_model_has_one_to_eight_million_parameters(backbone: jv.Backbone) -> None:
    assert 1e6 < sum(p.numel() for p in backbone.model.parameters()) < 8e6


def test_the_bundled_model_has_the_tokenizer_of_the_random_model(backbone: jv.Backbone) -> None:
    """Every word of the playground is one token, and the embeddings were learned for these identifiers."""
    assert backbone.tokenizer.get_vocab() == jv.load_backbone("tiny-random-qwen2.5-vl").tokenizer.get_vocab()


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, marks=[pytest.mark.slow] * (task not in ("sequential-crops", "jigsaw"))) for task in SEEN],
)
def test_the_bundled_model_answers_by_letter_only_from_what_it_sees(backbone: jv.Backbone, task: str) -> None:
    items = playground.questions(task, count=COUNT, split="test", seed=3)
    assert right(backbone, items) > 0.4 * COUNT
    assert binom.sf(right(backbone, blanked(items)) - 1, COUNT, 0.25) > 1e-3


def test_the_bundled_model_answers_in_words(backbone: jv.Backbone) -> None:
    """By free generation, in the form in which it was taught."""
    asked = [
        (lesson, rng, turn)
        for lesson, rng in lessons("scene", count=24, split="test", seed=3)
        for turn in lesson.turns
        if turn.kind in ("color", "shape")
    ]
    good = 0
    for lesson, rng, turn in asked:
        content = [
            {"type": "image", "image": lesson.picture.draw(rng)},
            {"type": "text", "text": turn.prompt("word")},
        ]
        batch = backbone.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
        )
        produced = backbone.model.generate(**batch, max_new_tokens=4, do_sample=False)
        said = backbone.tokenizer.decode(produced[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        good += said == turn.answer
    assert good > 0.7 * len(asked) > 20


def test_the_card_of_the_bundled_model_states_abilities_and_training() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "python -m benchmarks.pretrain_tiny" in card
    for word in (*SEEN, "color", "count", "column", "piece", "chance"):
        assert word in card
