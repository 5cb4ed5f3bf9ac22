"""Special tokens that a recipe adds: one identifier each, with a row in the embeddings and in the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedModel

from jepa_vlm.errors import BackboneError

SPREAD = 0.1  # standard deviation of new rows around the mean of the old ones, as a share of the old rows' own
CHUNK = 8192  # rows whose float32 copies are held at once


@final
@dataclass(frozen=True)
class AddedTokens:
    """Tokens added to a backbone's vocabulary.

    Args:
        ids: Identifier of each token, including tokens that the vocabulary already had.
        embeddings, head: Names of the modules with a row for each token.
        tied: Whether the two share their weight.
        before: Shapes of the model's tensors without the tokens.
    """

    ids: Mapping[str, int]
    embeddings: str
    head: str
    tied: bool
    before: Mapping[str, tuple[int, ...]]

    def rows(self) -> dict[str, list[int]]:
        """Return the rows of each module that train, as PEFT takes them; it ties the head to tied embeddings itself."""
        modules = (self.embeddings,) if self.tied else (self.embeddings, self.head)
        return {name: list(self.ids.values()) for name in modules}


def add_tokens(model: PreTrainedModel, tokenizer: Any, tokens: Sequence[str], *, seed: int) -> AddedTokens:
    """Add special tokens to a model and its tokenizer; tokens that they already have stay as they are.

    Embeddings and head are resized only where they lack rows (many checkpoints have rows to spare) and never shrunk. A
    new token's row is drawn around the mean of the old tokens' rows, with a tenth of their standard deviation on each
    axis: it starts among them, and no two start equal. An untied head gets its own rows in the same way.

    Args:
        model: Changed in place.
        tokenizer: Changed in place.
        tokens: The special tokens.
        seed: Random seed of the new rows.

    Raises:
        BackboneError: If a token cannot become one identifier, or the model's vocabulary cannot grow.
    """
    before = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    known, old = tokenizer.get_vocab(), len(tokenizer)
    new = [AddedToken(token, special=True, normalized=False) for token in tokens if token not in known]
    tokenizer.add_tokens(new, special_tokens=True)
    ids = {token: _single(tokenizer, token) for token in tokens}
    tables = _tables(model)
    if max(ids.values()) >= len(tables[0]):
        with torch.random.fork_rng():
            model.resize_token_embeddings(max(ids.values()) + 1, mean_resizing=False)
        tables = _tables(model)
    rows = torch.tensor([ids[token.content] for token in new], dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    for table in tables if len(rows) else ():
        mean, spread = _moments(table[:old])
        drawn = torch.randn(len(rows), table.shape[1], generator=generator)
        table[rows.to(table.device)] = (mean + SPREAD * spread * drawn.to(mean)).to(table.dtype)
    named = {id(module): name for name, module in model.named_modules()}
    embeddings, head = (named[id(part)] for part in (model.get_input_embeddings(), model.get_output_embeddings()))
    return AddedTokens(ids, embeddings, head, _tied(model), before)


def _tied(model: Any) -> bool:
    return bool(model.get_output_embeddings().weight is model.get_input_embeddings().weight)


def _tables(model: Any) -> list[Tensor]:
    """Return the matrices with a row for each token: the embeddings, and the head if it is not tied.

    Raises:
        BackboneError: If embeddings and head have different numbers of rows, or the head has a bias.
    """
    embeddings, head = model.get_input_embeddings().weight.data, model.get_output_embeddings()
    if getattr(head, "bias", None) is not None or len(head.weight) != len(embeddings):
        raise BackboneError(
            f"Tokens can be added where embeddings and head have a row for each token and no bias; here they have "
            f"{len(embeddings)} and {len(head.weight)} rows. Use a recipe without added tokens, or another backbone."
        )
    return [embeddings] if _tied(model) else [embeddings, head.weight.data]


def _single(tokenizer: Any, token: str) -> int:
    ids: list[int] = tokenizer(token, add_special_tokens=False).input_ids
    if len(ids) != 1:
        raise BackboneError(f"The added token {token!r} is read as {len(ids)} tokens; choose one like '<|name|>'.")
    return ids[0]


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, in float32 at least."""
    wide = torch.promote_types(rows.dtype, torch.float32)
    total = sum(chunk.to(wide).sum(0) for chunk in rows.split(CHUNK))
    mean = torch.as_tensor(total) / len(rows)
    squares = sum((chunk.to(wide) - mean).square().sum(0) for chunk in rows.split(CHUNK))
    return mean, (torch.as_tensor(squares) / len(rows)).sqrt()
