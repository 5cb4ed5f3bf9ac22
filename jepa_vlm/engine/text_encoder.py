"""A text encoder of a target's own, beside the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from jepa_vlm.adapters.text_model import TINY_TEXT, load_text_encoder
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent, TextIds, TextMask, at_least_float32, shape_checked
from jepa_vlm.views import Readout, answer_of

SMALL = 512  # hidden size of a decoder up to which a tiny random encoder is a partner


@final
@dataclass(frozen=True)
class TextReader:
    """Makes the tokens of answers for a text encoder. Picklable; holds no weights.

    Args:
        name: Of the encoder.
        tokenizer: Its own, padding on the right.
        limit: Most tokens that it reads.
    """

    name: str
    tokenizer: Any
    limit: int

    def __call__(
        self, trajectories: Sequence[Trajectory], others: Sequence[Trajectory | None] = ()
    ) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``mask``, (batch, tokens).

        Raises:
            DataError: If an answer is empty, or longer than the encoder reads: nothing is cut off.
        """
        coded = self.tokenizer(
            [answer_of(trajectory) for trajectory in trajectories], padding=True, return_tensors="pt"
        )
        mask: Tensor = coded["attention_mask"].bool()
        for trajectory, length in zip(trajectories, mask.sum(dim=1).tolist(), strict=True):
            if length > self.limit:
                raise DataError(
                    f"The answer of trajectory {trajectory.id!r} has {length} tokens, and {self.name} reads "
                    f"{self.limit}; shorten it, or leave the trajectory out.",
                    "answer too long",
                )
        return {"input_ids": coded["input_ids"], "mask": mask}

    def check(self, trajectory: Trajectory) -> None:
        """Check that the encoder can read the trajectory's answer.

        Raises:
            DataError: As for a batch.
        """
        self([trajectory])


@final
class TextEncoder(nn.Module):
    """Encodes texts by a Hugging Face encoder that trains with the objective's heads: VL-JEPA's Y-encoder.

    It runs beside the backbone's rows: no plan, no row and no engine knows of it. Its tokens are made while a batch is,
    by its own tokenizer; its weights are saved with the heads, for resuming, and left out of an export. Dropout is off,
    as for every target.

    Args:
        name: ``tiny-random-bert``, a local folder saved by transformers, or a hub id ("owner/name"); loaded by
            ``setup``, in float32.
        rate: Multiple of the learning rate at which it trains.

    Raises:
        ValueError: If there is no name, or ``rate`` is not positive.

    References:
        VL-JEPA, https://arxiv.org/abs/2512.10942: EmbeddingGemma-300M at 0.05 of the learning rate.
    """

    def __init__(self, *, name: str, rate: float = 1.0) -> None:
        super().__init__()
        if not name:
            raise ValueError("A text encoder needs a name, a folder or a hub id, got none.")
        if not 0 < rate < float("inf"):
            raise ValueError(f"rate must be a positive multiple of the learning rate, got {rate}.")
        self.name, self.rate = name, rate
        self.register_module("model", None)
        self._tokenizer: Any = None

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Load the encoder, for a decoder of hidden size ``dim``.

        Raises:
            BackboneError: If it cannot be loaded, or is the tiny random one beside a decoder of full size.
        """
        if self.name in TINY_TEXT and dim > SMALL:
            raise BackboneError(
                f"{self.name} has random weights and goes with tiny backbones; beside a decoder of hidden size {dim} "
                "name a trained one, such as google/embeddinggemma-300m (--set encoder=...)."
            )
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng():
            model, self._tokenizer = load_text_encoder(self.name, seed=seed)
        self.model = model.eval().requires_grad_(True)

    @property
    def width(self) -> int:
        """Size of its latents."""
        return int(self._loaded.config.hidden_size)

    def reader(self) -> TextReader:
        """Return what makes its tokens of trajectories."""
        longest = getattr(self._loaded.config, "max_position_embeddings", self._tokenizer.model_max_length)
        limit = min(int(longest), int(self._tokenizer.model_max_length))
        return TextReader(name=self.name, tokenizer=self._tokenizer, limit=limit)

    def train(self, mode: bool = True) -> TextEncoder:
        """Set the mode, which is of no consequence: dropout stays off."""
        super().train(mode)
        if self.model is not None:
            self.model.eval()
        return self

    @shape_checked
    def forward(self, *, input_ids: TextIds, mask: TextMask, readout: Readout) -> Latent:
        """Return the state at each text's last token, or the mean over its tokens, the encoder's own marks included.

        Args:
            input_ids: From ``reader()``, padded on the right.
            mask: True at tokens, False at padding.
            readout: ``last_token`` or ``mean``.
        """
        out = self._loaded(input_ids=input_ids, attention_mask=mask.long())
        hidden: Tensor = out.last_hidden_state
        if readout == "last_token":
            rows = torch.arange(len(mask), device=mask.device)
            return hidden[rows, mask.sum(dim=1) - 1]
        (wide,) = at_least_float32(hidden)
        kept = mask[..., None].to(wide.dtype)
        return (wide * kept).sum(dim=1) / kept.sum(dim=1)

    def extra_repr(self) -> str:
        """Show name and rate."""
        return f"name={self.name!r}, rate={self.rate:g}"

    @property
    def _loaded(self) -> Any:
        if self.model is None:
            raise RuntimeError("The text encoder has no weights yet; call setup(dim, generator) first.")
        return self.model
