"""The shared prefix, the batched tower and the two attention functions change nothing: states equal stock forwards."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import jepa_vlm as jv
from benchmarks.pretrain_tiny.batches import IGNORED, SHOWN, Encoder
from benchmarks.pretrain_tiny.forward import ANSWER_READ, Forward, Inside, Reader
from benchmarks.pretrain_tiny.lessons import lessons


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
    inside = forward.run(batch, features)
    torch.testing.assert_close(inside.layers[-1], states, rtol=1e-9, atol=1e-9)
    loss = forward.loss(batch, inside)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)  # cross-entropy runs in float32 here
    for (name, one), other in zip(model.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")


def test_a_turn_is_right_if_every_token_of_its_answer_is_the_likeliest(monkeypatch):
    backbone, encoder, batch = setting("scene", count=1)
    forward = Forward(model=backbone.base, encoder=encoder)
    _, right, turn = forward.answers(batch, forward.run(batch, forward.features(batch)).layers[-1])
    logits = F.one_hot(right, backbone.base.config.text_config.vocab_size).float()
    monkeypatch.setattr(forward, "answers", lambda *_: (logits, right, turn))
    assert all(forward.is_right(batch))
    logits[(turn == 2).nonzero()[-1]] = 0
    logits[(turn == 2).nonzero()[-1], 5] = 1
    assert [not good for good in forward.is_right(batch)] == [row == 2 for row in range(len(batch.kinds))]


def test_the_hints_by_hand():
    """Options read as any letter, ends of questions as their answers by 2, and every look is even."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    encoder = Encoder(backbone.processor)
    batch = encoder.encode(list(lessons("scene", count=1)), letters=1.0)
    turns, tokens = batch.input_ids.shape
    words = len(backbone.tokenizer)
    told = torch.zeros(turns, tokens, words)
    for turn in range(turns):
        told[turn, (batch.labels[turn] != IGNORED).nonzero()[0] - 1, batch.answer_word[turn]] = 2.0
    plain = SimpleNamespace(language_model=SimpleNamespace(norm=nn.Identity()))
    forward = Forward(model=backbone.base, encoder=encoder)
    forward.model = SimpleNamespace(model=plain, lm_head=nn.Identity())
    layers = tuple(told if n == ANSWER_READ else torch.zeros_like(told) for n in range(5))
    keys = 60 + tokens
    inside = Inside(layers, torch.full((turns, 4, tokens, keys), 1 / keys))
    said = torch.log(torch.exp(torch.tensor(2.0)) + words - 1) - 2.0
    wanted = torch.log(torch.tensor(float(words))) + said + torch.log(torch.tensor(float(keys)))
    assert forward.hints(batch, inside).item() == pytest.approx(wanted.item(), rel=1e-5)
    row = next(row for row, (_, form) in enumerate(batch.kinds) if form == "letter")
    end = int((batch.labels[row] != IGNORED).nonzero()[0])
    letter = batch.labels[row, end]
    option = int((batch.letter_of[row] == letter).nonzero()[0])
    assert backbone.tokenizer.decode(batch.input_ids[row, [option]]) == backbone.tokenizer.decode(
        batch.answer_word[row]
    )
    by_letter = sum(form == "letter" for _, form in batch.kinds)
    inside.attention[row, :, end - 1, 60 + option] = 1.0
    gained = torch.log(torch.tensor(float(keys))) / by_letter
    assert forward.hints(batch, inside).item() == pytest.approx((wanted - gained).item(), rel=1e-5)


def test_the_reader_by_hand():
    """A picture whose image tokens are twice the embedding of the colour that they show, at scale one."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    reader = Reader(tokenizer=backbone.tokenizer, dim=128)
    for parameter in reader.parameters():
        nn.init.zeros_(parameter)
    embedding = torch.zeros(len(backbone.tokenizer), 128)
    red = backbone.tokenizer.encode(" red")[-1]
    embedding[red, 0] = 1.0
    shown = torch.full((1, 10, 7, 7), IGNORED)
    shown[:, :2] = 0  # every cell is red, and a circle
    shown[0, 2, 3, 4] = 1  # one has an open way
    features = torch.zeros(1, 49, 128)
    features[..., 0] = 2.0
    loss = reader(features, embedding, shown)
    color = torch.log(torch.exp(torch.tensor(2.0)) + 8) - 2.0  # nine words, one of which has the logit 2
    shape = torch.log(torch.tensor(18.0))  # eight shapes, seven heights, hole, fits, nothing
    way = torch.log(torch.tensor(2.0))
    place = 2 * torch.log(torch.tensor(7.0))
    assert loss.item() == pytest.approx((color + shape + way + place).item(), rel=1e-5)


def test_the_reader_tells_a_column_from_a_row():
    """A column is told by its digit's embedding, and a row by the same with its halves exchanged."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    reader = Reader(tokenizer=backbone.tokenizer, dim=128)
    nn.init.zeros_(reader.scale)
    embedding = torch.zeros(len(backbone.tokenizer), 128)
    features = torch.zeros(1, 49, 128)
    for n in range(7):
        embedding[backbone.tokenizer.encode(str(n + 1))[-1], n] = 1.0
    for cell in range(49):
        features[0, cell, cell % 7] = features[0, cell, 64 + cell // 7] = 10.0
    shown = torch.full((1, 10, 7, 7), IGNORED)
    shown[:, :2] = 0
    turned = reader(features.roll(64, 2), embedding, shown) - reader(features, embedding, shown)
    assert turned.item() == pytest.approx(2 * 42 / 49 * 10, rel=1e-5)  # 42 cells have another column than row


def test_the_piece_that_fits_by_hand():
    """Four pieces of one puzzle; the right one reads like "fits" by 2, the others by 0, and nothing else counts."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    reader = Reader(tokenizer=backbone.tokenizer, dim=128)
    nn.init.zeros_(reader.scale)
    encoder = Encoder(backbone.processor)
    batch = encoder.encode(list(lessons("puzzle", count=1)) + list(lessons("scene", count=1)), letters=0)
    embedding = torch.zeros(len(backbone.tokenizer), 128)
    embedding[backbone.tokenizer.encode(" fits")[-1], 0] = 1.0
    features = torch.zeros(2, 49, 128)
    features[:, :42, 0] = 7.0  # the board and the scene are no pieces
    features[0, (batch.shown[0, 1] == SHOWN[1].index("fits")).flatten(), 0] = 2.0
    told, untold = (reader(features, embedding, batch.shown, fitting=weight) for weight in (0.5, 0.0))
    wanted = 0.5 * (torch.log(torch.exp(torch.tensor(2.0)) + 3) - 2.0)
    assert (told - untold).item() == pytest.approx(wanted.item(), rel=1e-4)
