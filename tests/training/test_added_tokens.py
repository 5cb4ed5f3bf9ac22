"""Embeddings of added tokens train alone, are saved and resumed, and are part of the export."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoTokenizer

import jepa_vlm as jv
from jepa_vlm.errors import BackboneError, ExportError, RunError
from jepa_vlm.training import (
    Origin,
    apply_lora,
    base_files,
    export,
    load_checkpoint,
    load_weights,
    merge,
    parts,
    save_weights,
)
from jepa_vlm.training.checkpoint import ADAPTER, PARTS, read_origin
from tests.training.setting import small_trainer, trained
from tests.training.test_trainer import StopAfter

TIED, UNTIED = "tiny-random-qwen2.5-vl", "tiny-random-llava"
TOKENS = ("<|latent_start|>", "<|latent_end|>")
LORA = jv.Lora(rank=4, alpha=8)
EVERY_WAY = pytest.mark.parametrize(("name", "lora"), [(TIED, LORA), (TIED, None), (UNTIED, LORA), (UNTIED, None)])
BOTH = pytest.mark.parametrize("name", [TIED, UNTIED])
UPDATED = {TIED: 1, UNTIED: 2}  # tensors with rows of added tokens


def origin(name):
    return Origin(name, 0, "float32", None, TOKENS)


def grown(name, lora, train=("language",)):
    backbone = jv.load_backbone(name, added_tokens=TOKENS)
    apply_lora(backbone, lora, train=train)
    return backbone


def vocabulary(base):
    """Both matrices as they are fed and read, detached."""
    return [part.weight.detach().clone() for part in (base.get_input_embeddings(), base.get_output_embeddings())]


def loss(backbone):
    """The loss of a text that holds the added tokens, through the stock model."""
    ids = backbone.tokenizer(f"red {TOKENS[0]} square {TOKENS[1]} blue", return_tensors="pt").input_ids
    return backbone.model(input_ids=ids, labels=ids, use_cache=False).loss


def disturbed(backbone):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return backbone


@BOTH
def test_embeddings_of_added_tokens_train_and_those_of_other_tokens_do_not(name):
    backbone = grown(name, LORA)
    before, plain = vocabulary(backbone.base), trained(backbone.model)
    named = [n for n, p in backbone.model.named_parameters() if p.requires_grad and "trainable_tokens" in n]
    assert len(named) == UPDATED[name]
    optimizer = torch.optim.AdamW([p for p in backbone.model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        loss(backbone).backward()
        assert all(bool(dict(backbone.model.named_parameters())[n].grad.any(dim=1).all()) for n in named)
        optimizer.step()
    ids = list(backbone.added.ids.values())
    for old, new in zip(before, vocabulary(backbone.base), strict=True):
        moved = (old != new).any(dim=1).nonzero()[:, 0]
        assert moved.tolist() == ids
    others = [n for n, p in trained(backbone.model).items() if not torch.equal(p, plain[n])]
    assert any("layers" in n for n in others)


@BOTH
def test_all_embeddings_train_where_the_decoder_trains_in_full(name):
    backbone = grown(name, None)
    assert not isinstance(backbone.model, PeftModel)
    loss(backbone).backward()
    assert backbone.base.get_input_embeddings().weight.grad[list(backbone.added.ids.values())].any(dim=1).all()
    assert backbone.base.get_output_embeddings().weight.grad.any(dim=1).all()  # the softmax pulls at every row
    table = {part.name: (part.trainable > 0, part.frozen > 0) for part in parts(backbone, torch.nn.Module())}
    assert "added tokens" not in table
    assert (table["decoder"], table["vision tower"]) == ((True, False), (False, True))


def test_embeddings_of_added_tokens_alone_train_without_the_language_model():
    backbone = grown(UNTIED, LORA, train=("projector",))
    table = {part.name: part.trainable for part in parts(backbone, torch.nn.Module())}
    assert table["added tokens"] == 2 * 2 * backbone.dim
    assert "LoRA adapter" not in table
    assert table["decoder"] == 0 < table["projector"]


def test_tied_embeddings_of_added_tokens_are_one_parameter_with_gradient_from_both_sides():
    backbone = grown(TIED, LORA)
    (rows,) = [p for n, p in backbone.model.named_parameters() if "trainable_tokens" in n]
    ids = torch.tensor([list(backbone.added.ids.values())])
    embedded = backbone.base.get_input_embeddings()(ids)
    assert torch.equal(embedded[0], rows)
    (fed,) = torch.autograd.grad(embedded.sum(), rows)
    state = torch.randn(1, backbone.dim)
    (read,) = torch.autograd.grad(backbone.base.get_output_embeddings()(state)[0, ids[0, 1]], rows)
    assert torch.equal(fed, torch.ones_like(rows))
    torch.testing.assert_close(read, torch.stack([torch.zeros(backbone.dim), state[0]]))


def test_the_gradient_checks_cover_embeddings_of_added_tokens(tmp_path):
    def trainer(name):
        model = jv.LatentVLM(grown(name, LORA), jv.NextToken())
        return small_trainer(model, tmp_path / name, steps=3, validate_every=3)

    run = trainer(TIED)
    before = trained(run.model)
    run.train()
    assert all(not torch.equal(p, before[n]) for n, p in trained(run.model).items())
    with pytest.raises(RunError, match=r"received no gradient.*embed_tokens\.token_adapter"):
        trainer(UNTIED).train()  # nothing writes the tokens into a view, so that their embeddings cannot learn


@EVERY_WAY
def test_a_checkpoint_restores_embeddings_of_added_tokens(tmp_path, name, lora):
    backbone = disturbed(grown(name, lora))
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path, origin(name))
    assert read_origin(tmp_path) == origin(name)
    again = jv.LatentVLM(grown(name, lora), jv.NextToken())
    load_weights(again, tmp_path)
    found, loaded = trained(again.backbone.model), load_checkpoint(tmp_path)
    assert all(torch.equal(value, found[n]) for n, value in trained(backbone.model).items())
    with torch.no_grad():
        expected = loss(backbone)
        assert torch.equal(loss(again.backbone), expected)
        assert torch.equal(loss(loaded), expected)


def test_plain_peft_loads_embeddings_of_added_tokens_under_its_own_names(tmp_path):
    backbone = disturbed(grown(UNTIED, LORA))
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path, origin(UNTIED))
    plain = jv.load_backbone(UNTIED)
    plain.tokenizer.add_tokens(list(TOKENS), special_tokens=True)
    plain.model.resize_token_embeddings(len(plain.tokenizer))
    plain.model = PeftModel.from_pretrained(plain.model, str(tmp_path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(loss(plain), loss(backbone))


@pytest.mark.parametrize(("name", "lora"), [(TIED, LORA), (UNTIED, None)])
def test_a_resumed_run_with_added_tokens_equals_the_uninterrupted_one_bit_for_bit(tmp_path, name, lora):
    def trainer(folder, **more):
        model = jv.LatentVLM(grown(name, lora), jv.NextToken())
        for parameter_name, parameter in model.named_parameters():  # fed in no view here, see above
            if name == UNTIED and "embed_tokens.token_adapter.trainable" in parameter_name:
                parameter.requires_grad_(False)
        run = small_trainer(model, tmp_path / folder, steps=4, validate_every=2, **more)
        run.callback_handler.callbacks = [c for c in run.callback_handler.callbacks if "Reach" not in type(c).__name__]
        run._origin = origin(name)
        return run

    whole, stopped, resumed = trainer("whole"), trainer("halves", callbacks=[StopAfter(2)]), trainer("halves")
    whole.train()
    stopped.train()
    assert stopped.state.global_step == 2
    resumed.train(str(tmp_path / "halves/checkpoints/checkpoint-2"))
    expected = trained(whole.model)
    assert any("trainable_tokens" in n for n in expected) == (lora is not None)
    assert all(torch.equal(value, expected[n]) for n, value in trained(resumed.model).items())


@EVERY_WAY
def test_an_export_with_added_tokens_is_the_base_plus_what_is_declared(tmp_path, name, lora):
    backbone = disturbed(grown(name, lora))
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path / "best", origin(name))
    done = export(tmp_path, to=tmp_path / "export")
    stock = AutoModelForImageTextToText.from_pretrained(done.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    assert tokenizer.convert_tokens_to_ids(list(TOKENS)) == list(backbone.added.ids.values())
    assert set(TOKENS) <= {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    base = jv.load_backbone(name).base.state_dict()
    assert stock.state_dict().keys() == base.keys()
    changed = {n for n, t in stock.state_dict().items() if t.shape != base[n].shape}
    assert changed == {"model.language_model.embed_tokens.weight", "lm_head.weight"}
    ids = tokenizer(f"red {TOKENS[0]} square {TOKENS[1]} blue", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(stock(input_ids=ids, labels=ids).loss, loss(backbone), rtol=1e-5, atol=1e-5)


def test_an_export_with_other_rows_added_or_a_token_missing_is_refused(tmp_path, monkeypatch):
    backbone = disturbed(grown(TIED, LORA))
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path / "best", origin(TIED))
    with monkeypatch.context() as patch:
        patch.setattr(base_files, "_edited", lambda name, held, *rest: held)
        with pytest.raises(ExportError, match=r"do not say what the run changed.*latent_start"):
            export(tmp_path, to=tmp_path / "export")
    shapes = merge._base_shapes
    monkeypatch.setattr(merge, "_base_shapes", lambda b: {**shapes(b), "model.language_model.norm.weight": (5,)})
    with pytest.raises(ExportError, match=r"more than the rows of added tokens, model\.language_model\.norm\.weight"):
        export(tmp_path, to=tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_checkpoint_with_missing_or_other_added_tokens_is_refused(tmp_path):
    backbone = disturbed(grown(TIED, LORA))
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path, origin(TIED))
    held = load_file(tmp_path / ADAPTER)
    rows = [n for n in held if "trainable_tokens" in n]
    save_file({n: t for n, t in held.items() if n not in rows}, tmp_path / ADAPTER)
    with pytest.raises(RunError, match=r"has no .*trainable_tokens_delta"):
        load_checkpoint(tmp_path)
    with pytest.raises(RunError, match=r"1 tensors differ.*trainable_tokens_delta"):
        load_weights(jv.LatentVLM(grown(TIED, LORA), jv.NextToken()), tmp_path)
    save_file(held, tmp_path / ADAPTER)
    told = json.loads((tmp_path / "origin.json").read_text())
    (tmp_path / "origin.json").write_text(json.dumps({**told, "added_tokens": [*TOKENS, "<|third|>"]}))
    with pytest.raises(RunError, match="not those of its added tokens"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_with_added_tokens_that_lacks_the_projector_is_refused(tmp_path):
    model = jv.LatentVLM(disturbed(grown(TIED, LORA, train=("projector",))), jv.NextToken())
    save_weights(model, tmp_path, origin(TIED))
    (tmp_path / PARTS).unlink()
    with pytest.raises(RunError, match=f"has no {PARTS}"):
        load_weights(model, tmp_path)


def test_a_frozen_target_needs_lora_and_not_added_tokens_alone():
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_token"),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.frozen()),
    )
    with pytest.raises(BackboneError, match="needs LoRA"):
        jv.LatentVLM(grown(TIED, None), prediction)
    assert jv.LatentVLM(grown(TIED, LORA), prediction)


def test_the_moving_average_holds_embeddings_of_added_tokens_too():
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_token"),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.ema(0.5)),
    )
    model = jv.LatentVLM(grown(TIED, LORA), prediction)
    rows = next(p for n, p in model.named_parameters() if "trainable_tokens" in n)
    start = rows.detach().clone()
    with torch.no_grad():
        rows.add_(1.0)
    model.after_optimizer_step()
    averages = [a for a in model.target_weights.buffers() if a.shape == rows.shape]
    assert any(torch.allclose(average, start + 0.5) for average in averages)


def test_a_checkpoint_without_added_tokens_does_not_mention_them(tmp_path):
    backbone = jv.load_backbone(TIED)
    apply_lora(backbone, LORA)
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), tmp_path, Origin(TIED, 0, "float32"))
    assert "added_tokens" not in json.loads((tmp_path / "origin.json").read_text())
    assert json.loads((tmp_path / "adapter_config.json").read_text())["trainable_token_indices"] is None
