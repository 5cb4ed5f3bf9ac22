"""The text of a question gives no hint of its answer, and answers are balanced."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import pytest
from scipy.stats import binom, chisquare
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from jepa_vlm import playground
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION

FAST = ("visual-search", "sequential-crops")
every_task = pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[pytest.mark.slow] * (task not in FAST)) for task in playground.TASKS]
)
RARE = 1e-4  # how unlikely a chance result must be before a test calls it a leak; seeds are fixed


@lru_cache
def drawn(task):
    """1,500 episodes to fit on and 300 others, of one split: nine in ten draws of the others are thrown away."""
    episodes = [episode for episode, _ in playground.episodes(task, count=1800)]
    return episodes[:1500], episodes[1500:]


def guesser(texts, letters):
    """A classifier over words and their places among the options: 'B red' and 'B', 'red' are all features."""
    counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", lowercase=False)
    model = LogisticRegression(max_iter=300, C=0.1).fit(counts.fit_transform(texts), letters)
    return lambda held_out: model.predict(counts.transform(held_out))


def beats_chance(right: int, count: int) -> bool:
    return binom.sf(right - 1, count, 1 / 4) < RARE


@every_task
def test_a_fitted_text_classifier_stays_at_chance(task):
    train, test = drawn(task)
    guess = guesser([e.prompt(DIRECT_INSTRUCTION) for e in train], [e.letter for e in train])
    guesses = guess([e.prompt(DIRECT_INSTRUCTION) for e in test])
    assert not beats_chance(sum(g == e.letter for g, e in zip(guesses, test, strict=True)), len(test))


@every_task
def test_a_classifier_that_scores_options_by_their_words_stays_at_chance(task):
    """Which option is right, from the question and the option's own text: a leak here is a prior over answers."""
    train, test = drawn(task)

    def claims(episode):
        return [f"{episode.question} {option.replace(' ', '_')}" for option in episode.options]

    counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", lowercase=False)
    features = counts.fit_transform([claim for e in train for claim in claims(e)])
    model = LogisticRegression(max_iter=300, C=0.1).fit(features, [i == e.answer for e in train for i in range(4)])
    scores = model.decision_function(counts.transform([claim for e in test for claim in claims(e)])).reshape(-1, 4)
    assert not beats_chance(sum(row.argmax() == e.answer for row, e in zip(scores, test, strict=True)), len(test))


def test_the_guesser_finds_a_planted_leak():
    episodes = drawn("visual-search")[0]
    leaky = [f"{'red' if e.answer == 0 else 'blue'} {e.prompt(DIRECT_INSTRUCTION)}" for e in episodes]
    letters = [e.letter for e in episodes]
    guesses = guesser(leaky[:1000], letters[:1000])(leaky[1000:])
    assert beats_chance(sum(g == right for g, right in zip(guesses, letters[1000:], strict=True)), 500)


@every_task
def test_letters_of_right_answers_are_uniform(task):
    counts = Counter(episode.letter for episode in drawn(task)[0])
    assert chisquare([counts[letter] for letter in "ABCD"]).pvalue > RARE


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("visual-search", 16),
        ("relative-position", 4),
        ("sequential-crops", 8),
        ("jigsaw", 4),
        ("maze", 7),
    ],
)
def test_answers_are_uniform_over_their_values(task, values):
    counts = Counter(e.options[e.answer] for e in drawn(task)[0])
    assert len(counts) == values
    assert chisquare(list(counts.values())).pvalue > RARE


def test_chart_answers_are_uniform_within_their_kind():
    colors, heights = Counter(), Counter()
    for episode in drawn("chart-reading")[0]:
        (heights if episode.question.startswith("How") else colors)[episode.options[episode.answer]] += 1
    assert (len(colors), len(heights)) == (8, 7)
    assert chisquare(list(colors.values())).pvalue > RARE
    assert chisquare(list(heights.values())).pvalue > RARE


@every_task
def test_options_are_four_and_distinct(task):
    assert all(len(set(episode.options)) == 4 for episode in drawn(task)[1])
