"""The forward pass of pretraining, its losses, and the accuracy on held-out lessons.

The vision tower runs once, the prefix of every picture runs once, and the turns of a picture run over the prefix's keys
and values. The states equal those of stock forwards, one for each turn, in the format of later questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

from benchmarks.pretrain_tiny.batches import IGNORED, QUARTERS_FROM, SHOWN, WIDTH, WORDS, Batch, Encoder
from benchmarks.pretrain_tiny.lessons import lessons
from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.vocabulary import MOVES

TEXT_ATTENTION = "pretrain_text"
OPTIONS_READ, ANSWER_READ = 2, 3  # after so many of the decoder's four layers
LEAST_LOOK = 1e-6  # keeps the logarithm finite
PICTURE_ATTENTION = "pretrain_flash_pictures"  # transformers hands the pictures' ends to names with "flash" in them


def causal_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Attend causally by two matrix products: on a CPU the backward pass of SDPA takes several times as long."""
    heads, length, total = key.shape[1], query.shape[2], key.shape[2]
    groups = query.shape[1] // heads
    later = torch.full((length, total), -1e4, dtype=query.dtype, device=query.device).triu(total - length + 1)
    grouped = rearrange(query * scaling, "turns (heads groups) q size -> turns heads (groups q) size", heads=heads)
    weights = (grouped @ key.transpose(-1, -2) + later.repeat(groups, 1)).softmax(-1)
    out = rearrange(weights @ value, "turns heads (groups q) size -> turns q (heads groups) size", q=length)
    return out, rearrange(weights, "turns heads (groups q) total -> turns (heads groups) q total", q=length)


def picture_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attend within pictures of one size, all at once."""
    count = len(kwargs["cu_seq_lens_q"]) - 1
    query, key, value = (
        rearrange(t, "1 heads (pictures patches) size -> pictures heads patches size", pictures=count)
        for t in (query, key, value)
    )
    out = ((query * scaling) @ key.transpose(-1, -2)).softmax(-1) @ value
    return rearrange(out, "pictures heads patches size -> 1 (pictures patches) heads size"), None


AttentionInterface.register(TEXT_ATTENTION, causal_attention)
AttentionInterface.register(PICTURE_ATTENTION, picture_attention)
AttentionMaskInterface.register(TEXT_ATTENTION, lambda *args, **kwargs: None)


@final
@dataclass(frozen=True)
class Inside:
    """What went on inside the decoder, over the tokens of the turns.

    Args:
        layers: States before the first layer, between the layers, and after the last one, normed: (turns tokens dim).
        attention: Of the last layer: (turns heads tokens keys); the keys end with the turn's own tokens.
    """

    layers: tuple[Tensor, ...]
    attention: Tensor


class Forward:
    """Runs a stock Qwen2.5-VL over batches of lessons.

    Args:
        model: In the dtype and on the device to run on; its attention is set here.
        encoder: Of the same processor.
    """

    def __init__(self, *, model: Any, encoder: Encoder) -> None:
        model.set_attn_implementation({"text_config": TEXT_ATTENTION, "vision_config": PICTURE_ATTENTION})
        self.model, self.encoder = model, encoder
        self._places: dict[int, tuple[Tensor, Tensor]] = {}

    def features(self, batch: Batch) -> Tensor:
        """Return the image tokens: (pictures cells dim)."""
        count = len(batch.pixels) // batch.grid**2
        grids = torch.tensor([[1, batch.grid, batch.grid]] * count, device=self.model.device)
        pooled = self.model.model.visual(batch.pixels.to(self.model.dtype), grid_thw=grids).pooler_output
        cells: Tensor = rearrange(pooled, "(pictures cells) dim -> pictures cells dim", pictures=count)
        return cells

    def run(self, batch: Batch, features: Tensor) -> Inside:
        """Run the decoder over every turn."""
        decoder, embed = self.model.model.language_model, self.model.get_input_embeddings()
        prefix, positions = self._place(batch.grid)
        before, own = positions.split([len(prefix), WIDTH], dim=1)
        inputs = repeat(embed(prefix), "tokens dim -> pictures tokens dim", pictures=len(features)).clone()
        inputs[:, prefix == self.model.config.image_token_id] = features
        cache: Any = DynamicCache(config=decoder.config)
        at = repeat(before, "axes tokens -> axes pictures tokens", pictures=len(features))
        decoder(inputs_embeds=inputs, position_ids=at, past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[batch.picture_of], layer.values[batch.picture_of]
        turns, length = batch.input_ids.shape
        at = repeat(own[:, :length], "axes tokens -> axes turns tokens", turns=turns)
        out = decoder(
            inputs_embeds=embed(batch.input_ids),
            position_ids=at,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
            output_attentions=True,
        )
        return Inside(out.hidden_states, out.attentions[-1])

    def answers(self, batch: Batch, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (answer tokens, vocabulary), the tokens that are right, and the turn of each."""
        labels = batch.labels[:, 1:]
        kept = labels != IGNORED
        return self.model.lm_head(states[:, :-1][kept]).float(), labels[kept], kept.nonzero()[:, 0]

    def loss(self, batch: Batch, inside: Inside) -> Tensor:
        """Return the mean over turns of the mean cross-entropy of their answers' tokens."""
        logits, right, turn = self.answers(batch, inside.layers[-1])
        losses = F.cross_entropy(logits, right, reduction="none")
        count = torch.bincount(turn, minlength=len(batch.kinds))
        return (losses / count[turn]).sum() / len(batch.kinds)

    def hints(self, batch: Batch, inside: Inside) -> Tensor:
        """Return how far the way from an answer to its letter is still untrodden.

        A listed option's word reads as its letter after two layers, the end of a question as its answer's word before
        the last one, and there the last layer looks at the option that is right. Each is a cross-entropy; without them
        the letters come a thousand steps later, or not at all.
        """
        norm, head = self.model.model.language_model.norm, self.model.lm_head
        total = inside.attention.new_zeros((), dtype=torch.float32)
        listed = batch.letter_of != IGNORED
        turns = listed.any(1).nonzero()[:, 0]
        if not len(turns):
            return total
        asked = (batch.labels != IGNORED).int().argmax(1) - 1
        letters = head(norm(inside.layers[OPTIONS_READ][listed])).float()
        words = head(norm(inside.layers[ANSWER_READ][turns, asked[turns]])).float()
        total = F.cross_entropy(letters, batch.letter_of[listed]) + F.cross_entropy(words, batch.answer_word[turns])
        answer = batch.labels.gather(1, asked[:, None] + 1)
        right = (batch.letter_of == answer) & listed
        turns = right.any(1).nonzero()[:, 0]
        if not len(turns):
            return total
        option = inside.attention.shape[-1] - right.shape[1] + right.int().argmax(1)
        looks = inside.attention[turns, :, asked[turns], option[turns]].float().mean(1)
        return total - looks.clamp(min=LEAST_LOOK).log().mean()

    @torch.no_grad()
    def is_right(self, batch: Batch) -> list[bool]:
        """Return for each turn whether every token of its answer is the likeliest one."""
        logits, right, turn = self.answers(batch, self.run(batch, self.features(batch)).layers[-1])
        wrong = torch.zeros(len(batch.kinds), device=logits.device).index_add(
            0, turn, (logits.argmax(-1) != right).float()
        )
        flags: list[bool] = (wrong == 0).tolist()
        return flags

    def _place(self, grid: int) -> tuple[Tensor, Tensor]:
        """Return the prefix of a picture and the positions of it and of the turn after it, (axes tokens)."""
        if grid not in self._places:
            prefix = self.encoder.prefix(grid)
            ids = F.pad(prefix, (0, WIDTH), value=self.encoder.pad)[None]
            positions, _ = self.model.model.get_rope_index(
                ids,
                mm_token_type_ids=(ids == self.model.config.image_token_id).int(),
                image_grid_thw=torch.tensor([[1, grid, grid]]),
            )
            self._places[grid] = prefix.to(self.model.device), positions[:, 0].to(self.model.device)
        return self._places[grid]


DETAIL_WEIGHT = 0.3
_FITS, _HOLE = WORDS[1].index("fits"), WORDS[1].index("hole")


@final
class Reader(nn.Module):
    """Reads words off image tokens by the model's own embedding of those words, so that image tokens become word-like.

    That is what lets the decoder find an object by its name. Ways and quarters are read by linear maps; a column by
    its digit, and a row by its digit with the halves of the embedding exchanged.
    The reader is thrown away after pretraining.

    Args:
        tokenizer: Of the model; every word is one token after a space.
        dim: Of image tokens and embeddings.
    """

    def __init__(self, *, tokenizer: Any, dim: int) -> None:
        super().__init__()
        for slot, words in enumerate(WORDS):
            ids = torch.tensor([tokenizer.encode(f" {word}")[-1] for word in words])
            self.register_buffer(f"words_{slot}", ids, persistent=False)
        self.scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(len(words))) for words in WORDS)
        self.quarters = nn.ModuleList(nn.Linear(dim, len(values)) for values in SHOWN[QUARTERS_FROM:])
        moves = torch.tensor([tokenizer.encode(f" {move}")[-1] for move in MOVES])
        self.register_buffer("moves", moves, persistent=False)
        self.move_bias = nn.Parameter(torch.zeros(len(MOVES)))
        digits = torch.tensor([tokenizer.encode(str(n))[-1] for n in range(1, GRID + 1)])
        self.register_buffer("digits", digits, persistent=False)

    def forward(self, features: Tensor, embedding: Tensor, shown: Tensor, *, fitting: float = 0.0) -> Tensor:
        """Return the loss.

        Args:
            features: Image tokens, (pictures cells dim).
            embedding: Of the model, (vocabulary dim).
            shown: Indices into ``SHOWN``, or ``IGNORED``, (pictures slots rows columns).
            fitting: Weight of telling the piece that fits a puzzle's hole from the other pieces.
        """
        rows, columns = shown.shape[2:]
        cells = rearrange(features, "pictures cells dim -> (pictures cells) dim")
        words, ways, quarters = rearrange(shown, "pictures slots rows columns -> slots (pictures rows columns)").split(
            [len(WORDS), len(MOVES), len(self.quarters)]
        )
        total = features.new_zeros((), dtype=torch.float32)
        for slot, (bias, right) in enumerate(zip(self.bias, words, strict=True)):
            logits = cells @ embedding[self.get_buffer(f"words_{slot}")].T * self.scale.exp() + bias
            total = total + F.cross_entropy(logits.float(), right)
        if (told := ways[0] != IGNORED).any():
            logits = cells[told] @ embedding[self.get_buffer("moves")].T * self.scale.exp() + self.move_bias
            total = total + F.binary_cross_entropy_with_logits(logits.float(), ways[:, told].T.float())
        for quarter, right in zip(self.quarters, quarters, strict=True):
            if (told := right != IGNORED).any():
                total = total + DETAIL_WEIGHT * F.cross_entropy(quarter(cells[told]).float(), right[told])
        at = torch.arange(rows * columns, device=features.device).repeat(len(features))
        digits = embedding[self.get_buffer("digits")] * self.scale.exp()
        total = total + F.cross_entropy((cells @ digits.T).float(), at % columns)
        total = total + F.cross_entropy((cells @ digits.roll(digits.shape[1] // 2, 1).T).float(), at // columns)
        if fitting and (shown[:, 1] == _FITS).any():
            total = total + fitting * self._fitting(features, embedding, shown)
        return total

    def _fitting(self, features: Tensor, embedding: Tensor, shown: Tensor) -> Tensor:
        """Return the cross-entropy over a puzzle's pieces of which one reads most like ``fits``."""
        things = rearrange(shown[:, 1], "pictures rows columns -> pictures (rows columns)")
        quarters = rearrange(shown[:, QUARTERS_FROM], "pictures rows columns -> pictures (rows columns)")
        puzzles = (things == _FITS).any(1)
        pieces = (quarters != IGNORED) & (things != _HOLE)
        logits = (features @ embedding[self.get_buffer("words_1")[_FITS]] * self.scale.exp()).float()
        logits = logits.masked_fill(~pieces, float("-inf"))
        return F.cross_entropy(logits[puzzles], (things == _FITS).int().argmax(1)[puzzles])


PICTURES = {"scene": 96, "relation": 16, "chart": 64, "maze": 96, "way": 16, "puzzle": 192, "closeup": 64}
AT_ONCE = 32


def held_out(encoder: Encoder, *, split: str = "validation", times: int = 1, seed: int = 0) -> list[Batch]:
    """Return batches of held-out lessons; half of the turns that have options are asked by letter.

    Args:
        encoder: Makes the tensors.
        split: Whose pictures are shown.
        times: How many times ``PICTURES``.
        seed: Of the lessons.
    """
    batches = []
    for teacher, count in PICTURES.items():
        drawn = lessons(teacher, count=times * count, seed=seed, split=split)
        while some := list(islice(drawn, AT_ONCE)):
            batches.append(encoder.encode(some, letters=0.5))
    return batches


def accuracy(forward: Forward, batches: Sequence[Batch]) -> Mapping[tuple[str, str], list[bool]]:
    """Return for each kind and form which turns were answered right: every token of the answer the likeliest one."""
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for batch in batches:
        for name, good in zip(batch.kinds, forward.is_right(batch.to(forward.model.device)), strict=True):
            right[name].append(good)
    return dict(sorted(right.items()))
