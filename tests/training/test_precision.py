"""What trains is float32 under bfloat16 too: the same weights move as in float32, and the loss falls alike."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F

import jepa_vlm as jv
from jepa_vlm.engine import attention
from jepa_vlm.errors import RecipeError, RunError
from jepa_vlm.training import ObjectiveTrainer, Origin, TrainSettings, apply_lora, load_checkpoint, save_weights
from jepa_vlm.training.metrics import read_metrics
from tests.training.setting import BACKBONE, small_trainer, trained
from tests.training.test_trainer import StopAfter

DECODER, TOWER = ("language",), ("projector", "vision")
IN_FULL = {
    "lvr": {"rank": 0},
    "mirage": {"rank": 0},
    "coconut": {"rank": 0},
    "llm_jepa": {"rank": 0},
    "next_latent": {"rank": 0},
    "vl_jepa": {"rank": 0},
}


def model_in(dtype, objective, *, lora=None, train=DECODER, added_tokens=(), name=BACKBONE):
    backbone = jv.load_backbone(name, dtype=dtype, exact=True, added_tokens=added_tokens)
    apply_lora(backbone, lora, train=train)
    return jv.LatentVLM(backbone, objective)


def moved_and_fell(folder, recipe, dtype, train, steps=4):
    """Return by how much the backbone's trained tensors moved, and the loss before and after."""
    model = model_in(dtype, recipe.objective, lora=recipe.lora, train=train, added_tokens=recipe.added_tokens)
    before = {name: p for name, p in trained(model).items() if name.startswith("model.")}
    rows = jv.playground.trajectories("sequential-crops", count=4)
    settings = TrainSettings(
        folder=folder / "checkpoints",
        steps=steps,
        batch_size=2,
        learning_rate=recipe.published.learning_rate,
        warmup=0.0,
        weight_decay=0.0,
        validate_every=steps,
        stages=recipe.stages,
        rates=dict.fromkeys(train, 1.0),
    )
    metrics = folder / "metrics.jsonl"
    ObjectiveTrainer(
        model=model, settings=settings, train=rows, validation=rows, metrics=metrics, origin=Origin(BACKBONE, 0, dtype)
    ).train()
    after = dict(model.named_parameters())
    losses = [row["loss"] for row in read_metrics(metrics) if row["kind"] == "validation"]
    return torch.cat([(after[n].detach() - p).flatten().float() for n, p in before.items()]), losses


def check_the_law(folder, recipe, train):
    (wide, expected), (half, found) = (
        moved_and_fell(folder / dtype, recipe, dtype, train) for dtype in ("float32", "bfloat16")
    )
    shares = [float((update != 0).float().mean()) for update in (wide, half)]
    assert min(shares) > 0.99
    assert shares[0] == pytest.approx(shares[1], abs=0.001)
    assert F.cosine_similarity(wide, half, dim=0) > 0.98
    assert expected[0] - expected[-1] > 0
    assert found[0] - found[-1] == pytest.approx(expected[0] - expected[-1], rel=0.25)


def test_a_whole_decoder_trains_in_bfloat16_as_it_does_in_float32(tmp_path):
    check_the_law(tmp_path, jv.load_recipe("pixel_reasoner"), DECODER)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train"), [*((name, DECODER) for name in IN_FULL), ("pixel_reasoner", TOWER), ("lvr", TOWER)]
)
def test_so_does_whatever_a_shipped_recipe_trains_in_full(tmp_path, name, train):
    check_the_law(tmp_path, jv.load_recipe(name, **IN_FULL.get(name, {})), train)


def test_every_shipped_recipe_that_can_train_the_decoder_in_full_is_among_them():
    files = {file.name: {parameter.name for parameter in file.parameters} for file in jv.recipe.files.list_recipes()}
    without = set()
    for name, parameters in files.items():
        given = {"rank": 0} if "rank" in parameters else {}
        with suppress(RecipeError):  # a recipe that has no form without an adapter refuses rank 0
            if jv.load_recipe(name, **given).lora is None:
                without.add(name)
    assert without == {*IN_FULL, "pixel_reasoner"}


@pytest.mark.parametrize(
    ("lora", "train"),
    [(None, DECODER), (None, TOWER), (jv.Lora(rank=2, alpha=4, variant="dora"), ("language", "vision"))],
)
def test_what_trains_is_float32_and_the_rest_is_not(lora, train):
    model = model_in("bfloat16", jv.load_recipe("pearl").objective, lora=lora, train=train, added_tokens=("<|a|>",))
    kinds = {(p.requires_grad, p.dtype) for p in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert model.backbone.dtype == torch.bfloat16


def test_what_trains_starts_from_the_stored_numbers():
    stored = dict(jv.load_backbone("tiny-qwen2.5-vl").base.named_parameters())
    model = model_in("bfloat16", jv.NextToken(), name="tiny-qwen2.5-vl")
    for name, p in model.backbone.base.named_parameters():
        assert torch.equal(p, stored[name] if p.requires_grad else stored[name].bfloat16())


def test_the_model_computes_in_bfloat16_in_training_validation_and_generation(monkeypatch):
    """Everything trains, so that no tensor is left whose type would say so."""
    model = model_in("bfloat16", jv.NextToken(), train=(*DECODER, *TOWER))
    seen = []
    layer = model.backbone.adapter.decoder(model.backbone.base).layers[0].mlp.up_proj
    layer.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    attend = attention.by_segment
    monkeypatch.setattr(attention, "by_segment", lambda query, *more: seen.append(query.dtype) or attend(query, *more))
    rows = jv.playground.trajectories("visual-search", count=1)
    batch = model.collator()(rows)
    model(batch).total.backward()
    with torch.no_grad():
        model(batch)
    items = jv.playground.questions("visual-search", count=1)
    jv.generation.answers_by_scoring(model.backbone, items, scorings=("letter-logits",))
    assert seen == [torch.bfloat16] * len(seen)
    assert len(seen) >= 3


def test_a_family_whose_code_takes_one_type_is_float32_throughout_and_computes_in_bfloat16(tmp_path):
    model = model_in("bfloat16", jv.NextToken(), name="tiny-random-smolvlm")
    save_weights(model, tmp_path, Origin("tiny-random-smolvlm", 0, "bfloat16"))
    batch = model.collator()(jv.playground.trajectories("visual-search", count=1))
    for backbone in (model.backbone, load_checkpoint(tmp_path)):
        assert {p.dtype for p in backbone.base.parameters()} == {torch.float32}
        jv.LatentVLM(backbone, jv.NextToken())(batch).total.backward()  # its own code would fail on two types


@pytest.mark.parametrize("engine", ["one_pass", "separate"])
def test_an_average_of_the_adapter_is_what_its_rows_are_encoded_with(engine):
    """Autocast keeps half-precision copies of an adapter's weights, and must not hand them to the average."""
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_token"),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.ema(0.5)),
    )
    backbone = jv.load_backbone(BACKBONE, dtype="bfloat16")
    apply_lora(backbone, jv.Lora(rank=2, alpha=4))
    model = jv.LatentVLM(backbone, jv.NextToken() + prediction, engine=engine)
    batch = model.collator()(jv.playground.trajectories("visual-search", count=1))
    at_start = model(batch).latents["latent_prediction"]
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    moved = model(batch).latents["latent_prediction"]
    assert not torch.equal(moved[0], at_start[0])
    torch.testing.assert_close(moved[1], at_start[1], rtol=0, atol=0)


@pytest.mark.slow
def test_a_resumed_run_in_bfloat16_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    rows = jv.playground.trajectories("visual-search", count=4)

    def trainer(folder, **more):
        model = model_in("bfloat16", jv.NextToken(), train=(*DECODER, *TOWER))
        return small_trainer(model, tmp_path / folder, steps=2, validate_every=1, examples=rows, **more)

    whole, stopped, resumed = trainer("whole"), trainer("halves", callbacks=[StopAfter(1)]), trainer("halves")
    whole.train()
    stopped.train()
    resumed.train(str(tmp_path / "halves/checkpoints/checkpoint-1"))
    expected = trained(whole.model)
    assert all(torch.equal(value, expected[name]) for name, value in trained(resumed.model).items())


def test_half_precision_that_would_train_is_refused(tmp_path):
    model = model_in("bfloat16", jv.NextToken())
    next(p for p in model.parameters() if p.requires_grad).data = torch.zeros(1, dtype=torch.bfloat16)
    with pytest.raises(RunError, match="1 trainable tensors are in half precision"):
        small_trainer(model, tmp_path, steps=1).train()
