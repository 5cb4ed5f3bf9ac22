"""The answer of a trajectory as bare text, for a text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import answer_of


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
