"""The shared prefix, the batched tower and the two attention functions change nothing: states equal stock forwards."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import jepa_vlm as jv
from benchmarks.pretrain_tiny.batches import Encoder
from benchmarks.pretrain_tiny.forward import Forward
from benchmarks.pretrain_tiny.reader import Reader
from jepa_vlm.playground.lessons import lessons


def setting(teacher, count=2):
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", dtype="float64")
    encoder = Encoder(backbone.processor)
    batch = encoder.encode(list(lessons(teacher, count=count)), letters=0.4)
    return backbone, encoder, batch


def stock_loss(model, encoder, batch):
    """One stock forward for each turn."""
    losses, states = [], []
    patches = batch.grid**2
    for row, picture in enumerate(batch.picture_of.tolist()):
        prefix = encoder.prefix(batch.grid)
        ids = torch.cat([prefix, batch.input_ids[row]])[None]
        out = model.model(
            input_ids=ids,
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            pixel_values=batch.pixels[picture * patches : (picture + 1) * patches].double(),
            image_grid_thw=torch.tensor([[1, batch.grid, batch.grid]]),
            use_cache=False,
        )
        hidden = out.last_hidden_state[0, len(prefix) :]
        states.append(hidden)
        losses.append(F.cross_entropy(model.lm_head(hidden[:-1]), batch.labels[row, 1:]))
    return torch.stack(losses).mean(), torch.stack(states)


@pytest.mark.parametrize("teacher", ["scene", "closeup"])
def test_states_loss_and_gradients_equal_stock_forwards(pure_float64, teacher):
    backbone, encoder, batch = setting(teacher)
    stock, model = copy.deepcopy(backbone.base), backbone.base
    expected, states = stock_loss(stock, encoder, batch)
    expected.backward()
    forward = Forward(model=model, encoder=encoder)
    features = forward.features(batch)
    torch.testing.assert_close(forward.states(batch, features), states, rtol=1e-9, atol=1e-9)
    loss = forward.loss(batch, features)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)  # cross-entropy runs in float32 here
    for (name, one), other in zip(model.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")


def test_a_turn_is_right_if_every_token_of_its_answer_is_the_likeliest(monkeypatch):
    backbone, encoder, batch = setting("scene", count=1)
    forward = Forward(model=backbone.base, encoder=encoder)
    _, right, turn = forward.answers(batch, forward.states(batch, forward.features(batch)))
    logits = F.one_hot(right, backbone.base.config.text_config.vocab_size).float()
    monkeypatch.setattr(forward, "answers", lambda *_: (logits, right, turn))
    assert all(forward.is_right(batch))
    logits[(turn == 2).nonzero()[-1]] = 0
    logits[(turn == 2).nonzero()[-1], 5] = 1
    assert [not good for good in forward.is_right(batch)] == [row == 2 for row in range(len(batch.kinds))]


def test_the_reader_by_hand():
    """Three pictures whose image tokens are the embeddings of what they show, at scale one and without places."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    reader = Reader(tokenizer=backbone.tokenizer, dim=128)
    nn.init.zeros_(reader.place.weight)
    nn.init.zeros_(reader.place.bias)
    nn.init.zeros_(reader.scale)
    embedding = torch.zeros(len(backbone.tokenizer), 128)
    red = backbone.tokenizer.encode(" red")[-1]
    embedding[red, 0] = 1.0
    shown = torch.zeros(1, 2, 7, 7, dtype=torch.long)  # every cell is red, and a circle
    features = torch.zeros(1, 49, 128)
    features[..., 0] = 2.0
    loss = reader(features, embedding, shown)
    color = torch.log(torch.exp(torch.tensor(2.0)) + 8) - 2.0  # nine words, one of which has the logit 2
    shape = torch.log(torch.tensor(18.0))  # eight shapes, seven heights, hole, fits, nothing
    place = 2 * 0.3 * torch.log(torch.tensor(7.0))
    assert loss.item() == pytest.approx((color + shape + place).item(), rel=1e-5)
