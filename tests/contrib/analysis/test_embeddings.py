"""Both views' embeddings are those of the trained model, whatever else its objective computes."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.analysis.embedding_reader import own_prediction, readout_prediction
from jepa_vlm.contrib.analysis.embeddings import Embeddings, embed
from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Question, TrajectoryOnly
from tests.factories import lora_backbone, pearl_objective, random_trajectory


def prediction(policy: object) -> jv.LatentPrediction:
    return jv.LatentPrediction(
        context=ViewEncoder(Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=ViewEncoder(TrajectoryOnly(), policy=policy),
    )


@pytest.fixture(scope="module")
def trajectories():
    generator = torch.Generator().manual_seed(3)
    return [random_trajectory(generator, f"x{i}") for i in range(5)]


def shift(model: jv.LatentVLM) -> None:
    """Move every parameter of the objective, as training does."""
    with torch.no_grad():
        for parameter in model.objective.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))


def latents(model: jv.LatentVLM, trajectories, term: str = "latent_prediction"):
    model.eval()
    with torch.no_grad():
        return model(model.collator()(list(trajectories))).latents[term]


@pytest.mark.parametrize("policy", [jv.stop_gradient(), jv.frozen(), jv.ema(0.9), jv.with_gradient()])
def test_embeddings_are_the_latents_of_the_whole_objective(trajectories, policy):
    model = jv.LatentVLM(lora_backbone(torch.float64), jv.NextToken() + 0.2 * prediction(policy))
    shift(model)
    for average in model.target_weights.buffers():
        average += 0.01
    found = embed(own_prediction(model), trajectories, name="m", readout="own", batch_size=2)
    assert found.ids == ("x0", "x1", "x2", "x3", "x4")
    for side, expected in zip((found.predicted, found.target), latents(model, trajectories), strict=True):
        torch.testing.assert_close(side, expected.float())
        assert side.dtype == torch.float32
        assert not side.is_inference()


def test_embeddings_compute_a_cached_target_anew(trajectories, tmp_path):
    backbone = lora_backbone(torch.float64)
    cached = jv.LatentVLM(backbone, jv.NextToken() + prediction(jv.cached(tmp_path)))
    frozen = jv.LatentVLM(backbone, jv.NextToken() + prediction(jv.frozen()))
    shift(cached)
    shift(frozen)
    found = embed(own_prediction(cached), trajectories, name="m", readout="own")
    torch.testing.assert_close(found.target, latents(frozen, trajectories)[1].float())
    torch.testing.assert_close(found.predicted, latents(frozen, trajectories)[0].float())
    trained = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0)
    with pytest.raises(RecipeError, match="trained in full"):
        own_prediction(jv.LatentVLM(trained, jv.NextToken() + prediction(jv.cached(tmp_path))))


def test_loss_dropout_leaves_no_embedding_out(trajectories):
    term = prediction(jv.stop_gradient())
    term.loss_dropout = 0.9
    model = jv.LatentVLM(lora_backbone(), jv.NextToken() + term)
    assert len(embed(own_prediction(model), trajectories, name="m", readout="own").ids) == 5
    assert model.objective.parts()[1][1].loss_dropout == 0.9


def test_one_of_several_terms_has_to_be_named(trajectories):
    model = jv.LatentVLM(lora_backbone(torch.float64), prediction(jv.stop_gradient()) + 0.5 * prediction(jv.frozen()))
    shift(model)
    with pytest.raises(RecipeError, match="latent_prediction, latent_prediction_2, asked was None"):
        own_prediction(model)
    found = embed(own_prediction(model, "latent_prediction_2"), trajectories, name="m", readout="own")
    expected = latents(model, trajectories, "latent_prediction_2")
    torch.testing.assert_close(found.predicted, expected[0].float())
    torch.testing.assert_close(found.target, expected[1].float())


def test_any_model_can_be_read_at_a_readout(trajectories):
    backbone = lora_backbone(torch.float64)
    with pytest.raises(RecipeError, match=r"objective \(next_token\) predicts no latent; name a readout"):
        own_prediction(jv.LatentVLM(backbone, jv.NextToken()))
    found = embed(jv.LatentVLM(backbone, readout_prediction("mean")), trajectories, name="m", readout="mean")
    separate = jv.LatentVLM(backbone, readout_prediction("mean"), engine="separate")
    expected = latents(separate, trajectories)
    torch.testing.assert_close(found.predicted, expected[0].float())
    torch.testing.assert_close(found.target, expected[1].float())


def test_progress_counts_trajectories_and_modes_are_restored(trajectories):
    reader = own_prediction(jv.LatentVLM(lora_backbone(), pearl_objective()))
    reader.train()
    told: list[int] = []
    embed(reader, trajectories, name="m", readout="own", batch_size=2, progress=told.append)
    assert told == [2, 2, 1]
    assert reader.backbone.base.training
    with pytest.raises(ValueError, match="at least two trajectories"):
        embed(reader, trajectories[:1], name="m", readout="own")
    with pytest.raises(ValueError, match="one prediction term"):
        embed(jv.LatentVLM(lora_backbone(), pearl_objective()), trajectories, name="m", readout="own")


def test_embeddings_are_read_back_as_they_were_saved(tmp_path):
    one = Embeddings("a/b", "own", ("ä", "y"), ("t", ""), ("t, 1 call", ""), torch.eye(2), torch.ones(2, 2), True)
    one.save(tmp_path / "new" / "x.safetensors")
    back = Embeddings.load(tmp_path / "new" / "x.safetensors")
    assert (back.name, back.readout, back.ids, back.tasks) == (one.name, one.readout, one.ids, one.tasks)
    assert (back.kinds, back.by_direction) == (one.kinds, True)
    assert torch.equal(back.predicted, one.predicted)
    assert torch.equal(back.target, one.target)
    (tmp_path / "y.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no embeddings"):
        Embeddings.load(tmp_path / "y.safetensors")
    with pytest.raises(DataError, match="holds no embeddings"):
        Embeddings.load(tmp_path / "gone.safetensors")


def test_embeddings_of_different_counts_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 2\) rows"):
        Embeddings("a", "own", ("x", "y"), ("t", "t"), ("t", "t"), torch.eye(2), torch.ones(3, 2))
