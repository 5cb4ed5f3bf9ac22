"""Accuracy by latent tokens on made-up evaluations, by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from jepa_vlm.contrib.analysis.latent_steps import Decoded, accuracy_by_steps, decode_by_steps, latent_steps_figure
from jepa_vlm.errors import DataError
from jepa_vlm.generation import Latents
from tests.evaluations import made_evaluation


@pytest.fixture
def evaluation():
    return made_evaluation


@pytest.fixture
def decoded(evaluation):
    return [
        Decoded(4, "noise", evaluation("1110000000", ran=10)),
        Decoded(0, "none", evaluation("1111000000")),
        Decoded(2, "none", evaluation("1111100000", ran=5)),
        Decoded(4, "none", evaluation("1111111100", ran=10)),
        Decoded(4, "dropped", evaluation("0000000011")),
    ]


def test_points_are_in_order_with_their_tests(decoded):
    found = accuracy_by_steps(decoded)
    assert [(p.control, p.steps) for p in found.points] == [
        ("none", 0),
        ("none", 2),
        ("none", 4),
        ("noise", 4),
        ("dropped", 4),
    ]
    assert [p.accuracy.correct for p in found.points] == [4, 5, 8, 3, 2]
    assert [p.ran for p in found.points] == [None, 0.5, 1.0, 1.0, None]
    noise, dropped = found.points[3], found.points[4]
    # 5 items that the model's own latents alone got right, none the other way: 2 / 2^5
    assert (noise.against_real.only_a, noise.against_real.only_b) == (5, 0)
    assert noise.against_real.p_value == pytest.approx(2 / 32)
    # 8 and 2 of 10: 2 * (1 + 10 + 45) / 2^10
    assert dropped.against_real.p_value == pytest.approx(2 * 56 / 1024)
    own = found.points[2]
    assert own.against_real is None
    assert (own.against_plain.only_a, own.against_plain.only_b) == (0, 4)
    assert found.points[0].against_plain is None


def test_the_slope_is_least_squares_over_doublings(decoded, evaluation):
    # own latents at 2 and 4 tokens, one doubling: 5 and 8 of 10 right
    assert accuracy_by_steps(decoded).slope.value == pytest.approx(0.3)
    more = [*decoded, Decoded(8, "none", evaluation("1" * 5 + "0" * 5))]
    # 0.5, 0.8, 0.5 at 1, 2, 3
    found = accuracy_by_steps(more).slope
    assert found.value == pytest.approx(0.0)
    assert found.low <= 0 <= found.high
    assert accuracy_by_steps(decoded[1:3]).slope is None


def test_the_table_has_a_row_for_each_point(decoded):
    rows = accuracy_by_steps(decoded).table()
    assert [row["correct"] for row in rows] == [4, 5, 8, 3, 2]
    assert rows[3]["against_real_p"] == pytest.approx(2 / 32)
    assert rows[3]["ran"] == 1.0
    assert accuracy_by_steps(decoded).summary()["points"][0]["accuracy"]["n"] == 10


def test_what_does_not_belong_together_is_refused(decoded, evaluation):
    with pytest.raises(DataError, match="'noise' at 4 steps needs the model's own latents at 4 steps"):
        accuracy_by_steps(decoded[:2])
    with pytest.raises(ValueError, match="may come once"):
        accuracy_by_steps([decoded[0], *decoded])
    with pytest.raises(ValueError, match="may come once"):
        accuracy_by_steps([])
    with pytest.raises(DataError, match="same items only"):
        accuracy_by_steps([*decoded, Decoded(8, "none", evaluation("11"))])
    with pytest.raises(DataError, match="no scoring 'free'"):
        accuracy_by_steps(decoded, scoring="free")
    changed = evaluation("1111111111")
    scored = replace(changed.scored[0], protocol=replace(changed.scored[0].protocol, max_pixels=1))
    with pytest.raises(DataError, match="protocols differ"):
        accuracy_by_steps([*decoded, Decoded(8, "none", replace(changed, scored=(scored,)))])


@pytest.mark.parametrize(("steps", "control"), [(-1, "none"), (0, "noise"), (4, "nothing")])
def test_arguments_are_checked(evaluation, steps, control):
    with pytest.raises(ValueError, match="steps must be at least 0 and control one of none, noise, dropped"):
        Decoded(steps, control, evaluation("10"))


def test_every_count_is_asked_with_every_control(evaluation):
    asked: list[Latents] = []

    def ask(decoding: Latents):
        asked.append(decoding)
        return evaluation("10")

    own = Latents(steps=8, entry="model", leave="end", seed=3)
    found = decode_by_steps(ask, own, steps=(0, 2, 4, 2))
    expected = [(0, "none"), *((count, control) for count in (2, 4) for control in ("none", "noise", "dropped"))]
    assert [(one.steps, one.control) for one in found] == expected
    assert asked == [replace(own, steps=count, control=control) for count, control in expected]
    with pytest.raises(ValueError, match="At least one count"):
        decode_by_steps(ask, own, steps=())


def test_decodings_may_differ_where_other_rules_may_not(evaluation):
    def decoded_as(words: str):
        made = evaluation("10")
        scored = made.scored[0]
        return replace(made, scored=(replace(scored, protocol=replace(scored.protocol, latents=words)),))

    found = accuracy_by_steps(
        [Decoded(4, "none", decoded_as("4 latent steps")), Decoded(8, "none", decoded_as("8 latent steps"))]
    )
    assert [point.steps for point in found.points] == [4, 8]


def test_the_figure_has_a_second_panel_where_the_path_is_known(decoded):
    def texts(svg: str) -> set[str]:
        ElementTree.fromstring(svg)
        return set(re.findall(r"<!-- (.*?) -->", svg))

    assert {"latent path ran", "noise in their place", "left out", "chance"} <= texts(
        latent_steps_figure(accuracy_by_steps(decoded))
    )
    plain = texts(latent_steps_figure(accuracy_by_steps([decoded[1]])))
    assert not {"latent path ran", "left out"} & plain
