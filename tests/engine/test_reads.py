"""Which states are read, and what is counted, against what can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jepa_vlm.engine import Read
from jepa_vlm.engine.batch import Location
from jepa_vlm.engine.collator import needed_tokens, read
from jepa_vlm.views import Conversation, Request, TokenizedView

# Two examples. Token:      0  1  2  3  4  5  6
#   content                 .  c  .  c  .
#   T, supervised           .  .  T  Ts Ts              (first example)
#   content                 c  c  .  c  .  c  .
#   T, supervised           .  .  .  T  Ts T  Ts        (second example)
FIRST = {"content": [0, 1, 0, 1, 0], "trajectory": [0, 0, 1, 1, 1], "trained": [0, 0, 0, 1, 1]}
SECOND = {"content": [1, 1, 0, 1, 0, 1, 0], "trajectory": [0, 0, 0, 1, 1, 1, 1], "trained": [0, 0, 0, 0, 1, 0, 1]}
LOCATION = Location("row", torch.tensor([10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 25, 26]))


def view(marks: dict[str, list[int]]) -> TokenizedView:
    count = len(marks["content"])
    ids, no = torch.arange(count) + 100, torch.zeros(count, dtype=torch.bool)
    return TokenizedView(
        input_ids=ids,
        labels=torch.where(torch.tensor(marks["trained"], dtype=torch.bool), ids, -100),
        text="",
        images=(),
        slots=no,
        image_tokens=no,
        content=torch.tensor(marks["content"], dtype=torch.bool),
        trajectory=torch.tensor(marks["trajectory"], dtype=torch.bool),
        image_rows=torch.full((count,), -1),
        image_index=torch.full((count,), -1),
        positions=torch.arange(count)[None],
        readouts={"last_token": count - 2, "turn_end": count - 1},
    )


VIEWS = [view(FIRST), view(SECOND)]


def read_at(at: str, views: list[TokenizedView]) -> Read:
    request = Request(Conversation(), at)
    return read(request, views, {request.encoding: LOCATION})


def test_a_mean_is_over_the_content_tokens_of_each_example() -> None:
    found = read_at("mean", VIEWS)
    assert found.index.tolist() == [11, 13, 20, 21, 23, 25]
    assert found.document.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.size.tolist() == [2, 4]


def test_a_single_readout_is_one_place_per_example() -> None:
    assert read_at("turn_end", VIEWS).index.tolist() == [14, 26]


def test_a_supervised_token_is_read_at_the_place_before_it() -> None:
    found = read_at("supervised", VIEWS)
    assert found.index.tolist() == [12, 13, 23, 25]
    assert found.labels.tolist() == [103, 104, 104, 106]
    assert found.document.tolist() == [0, 0, 1, 1]
    assert found.lengths == (2, 2)


def test_the_first_token_of_a_view_is_not_supervised_as_no_state_predicts_it() -> None:
    at_once = view({"content": [1, 1, 0], "trajectory": [1, 1, 1], "trained": [1, 1, 1]})
    found = read_at("supervised", [VIEWS[0], at_once])
    assert found.index.tolist() == [12, 13, 20, 21]
    assert found.labels.tolist() == [103, 104, 101, 102]
    assert found.lengths == (2, 2)


def test_other_regions_are_read_at_their_own_places() -> None:
    found = read_at("trajectory", VIEWS)
    assert found.index.tolist() == [12, 13, 14, 23, 24, 25, 26]
    assert found.labels.tolist() == [-100, 103, 104, -100, 104, -100, 106]
    assert len(read_at("all", VIEWS).index) == 12


@pytest.mark.parametrize("region", ["trajectory", "all"])
@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("horizon", [1, 2, 3, 100])
def test_pairs_are_counted_one_by_one(region: str, supervised: bool, horizon: int) -> None:
    expected = 0
    for marks in (FIRST, SECOND):
        inside = marks["trajectory"] if region == "trajectory" else [1] * len(marks["content"])
        for start in range(len(inside)):
            for ahead in range(1, min(horizon, len(inside) - start - 1) + 1):
                target = start + ahead
                expected += bool(inside[start] and inside[target] and (marks["trained"][target] or not supervised))
    assert read_at(region, VIEWS).pairs(horizon, supervised=supervised) == expected


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"at": "mean"}, 6),
        ({"at": "last_token"}, 6),
        ({"at": "turn_end"}, 7),
        ({"at": "supervised"}, 6),  # the last supervised token is read at the one before it
        ({"at": "trajectory"}, 7),
    ],
)
def test_nothing_behind_the_last_read_token_is_needed(asked: dict[str, str], count: int) -> None:
    assert needed_tokens(VIEWS[1], Request(view=Conversation(), **asked)) == count


def test_tokens_are_the_same_if_word_or_image_and_row_are() -> None:
    image = torch.tensor([1, 1, 1, 1, 0, 0, 0], dtype=torch.bool)
    shown = replace(
        VIEWS[1],
        image_tokens=image,
        image_index=torch.tensor([0, 0, 1, 1, -1, -1, -1]),
        image_rows=torch.tensor([0, 1, 0, 1, -1, -1, -1]),
        slots=torch.tensor([0, 0, 0, 0, 0, 0, 1], dtype=torch.bool),
    )
    identity = shown.identity().tolist()
    assert len(set(identity)) == 7
    assert identity[4:] == [104, 105, -1]
