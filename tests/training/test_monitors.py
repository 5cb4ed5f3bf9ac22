from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from jepa_vlm.training.monitors import (
    dimension_std,
    effective_rank,
    latent_figures,
    matched_cosine,
    mean_pairwise_cosine,
    shuffled_cosine,
    spectrum,
)


def test_cosines_of_orthogonal_latents_are_one_matched_and_zero_shuffled():
    latents = 3 * torch.eye(4)
    assert matched_cosine(latents, torch.eye(4)) == pytest.approx(1.0)
    assert shuffled_cosine(latents, torch.eye(4)) == pytest.approx(0.0)


def test_cosines_by_hand():
    predicted = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    target = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    half = math.sqrt(0.5)
    assert matched_cosine(predicted, target) == pytest.approx((0 + 1 + half) / 3)
    # others: row 0 with targets 1, 2: 0, 1; row 1 with 0, 2: 1, 0; row 2 with 0, 1: half, half
    assert shuffled_cosine(predicted, target) == pytest.approx((0 + 1 + 1 + 0 + half + half) / 6)


def test_effective_rank_of_a_simplex_is_one_less_than_its_corners():
    # centred unit vectors span n - 1 directions with equal singular values
    assert effective_rank(torch.eye(4)) == pytest.approx(3.0)


def test_effective_rank_by_hand():
    # centred already; singular values 3 * sqrt(2) and 1 * sqrt(2): shares 3/4 and 1/4
    latents = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert effective_rank(latents) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_latents_on_one_line_have_rank_one():
    latents = torch.tensor([[1.0], [2.0], [5.0]]) * torch.tensor([[0.1, 0.7, -0.3]]).double()
    assert effective_rank(latents + 100) == pytest.approx(1.0)


def test_the_spectrum_of_orthonormal_latents_has_every_direction_once():
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0][:4]
    torch.testing.assert_close(spectrum(turned, centred=False), torch.ones(4, dtype=torch.float64))
    # centred, the direction of the mean is lost
    torch.testing.assert_close(spectrum(turned), torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    assert effective_rank(turned, centred=False) == pytest.approx(4.0)
    assert effective_rank(turned) == pytest.approx(3.0)
    assert mean_pairwise_cosine(turned) == pytest.approx(0.0)


def test_rank_me_alone_is_misled_by_a_common_offset():
    latents = torch.eye(4).double() + 1e9
    assert effective_rank(latents) == pytest.approx(3.0)
    assert effective_rank(latents, centred=False) == pytest.approx(1.0, abs=1e-6)
    assert mean_pairwise_cosine(latents) == pytest.approx(1.0)


def test_the_spectrum_of_rank_one_latents_has_one_direction():
    latents = torch.tensor([[2.0], [1.0], [-1.0]]) * torch.tensor([[0.6, 0.0, 0.8]])
    values = spectrum(latents.double(), centred=False)
    torch.testing.assert_close(values, torch.tensor([6**0.5, 0.0, 0.0], dtype=torch.float64))
    assert effective_rank(latents, centred=False) == 1.0
    # pairs: 2 and 1 point one way, -1 against both
    assert mean_pairwise_cosine(latents) == pytest.approx((1 - 1 - 1) / 3)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_collapsed_latents_have_rank_one_and_no_spread(scale):
    row = torch.randn(16, generator=torch.Generator().manual_seed(0)) * scale
    found = latent_figures(row.expand(20, 16), row.expand(20, 16))
    assert found["matched_cosine"] == pytest.approx(found["shuffled_cosine"])
    assert found["predicted_effective_rank"] == pytest.approx(1.0)
    assert found["target_effective_rank"] == pytest.approx(1.0)
    assert found["predicted_std_mean"] == pytest.approx(0.0, abs=1e-12 * scale)


def test_standard_deviation_by_hand():
    latents = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 4.0]])
    torch.testing.assert_close(dimension_std(latents), torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64))
    found = latent_figures(latents, 2 * latents)
    assert found["predicted_std_mean"] == pytest.approx(1.0)
    assert found["target_std_mean"] == pytest.approx(2.0)
    assert found["target_std_min"] == 0.0


def test_zero_latents_give_finite_figures():
    found = latent_figures(torch.zeros(3, 4), torch.zeros(3, 4))
    assert all(math.isfinite(value) for value in found.values())


def test_latents_that_are_not_finite_do_not_stop_a_run():
    bad = torch.full((3, 4), float("nan"))
    assert math.isnan(latent_figures(bad, torch.eye(3, 4))["predicted_effective_rank"])


def test_latent_figures_accept_half_precision():
    assert latent_figures(torch.eye(3).bfloat16(), torch.eye(3).bfloat16())["matched_cosine"] == pytest.approx(1.0)


def test_latent_figures_need_two_examples():
    assert latent_figures(torch.ones(1, 3), torch.ones(1, 3)) == {}
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        shuffled_cosine(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(TypeCheckError, match="dim=3"):
        latent_figures(torch.ones(2, 3), torch.ones(2, 4))
