"""What an engine is: it plans what is run for a batch, and runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.engine.batch import Batch, BatchPlan, RowStates
from jepa_vlm.engine.target_weights import TargetWeights
from jepa_vlm.errors import BackboneError
from jepa_vlm.views import Request, TokenizedView


class Planner(Protocol):
    """Lays out a batch's views; each engine brings its own. Picklable; holds no weights.

    ``images_together`` says whether the engine encodes all images of a batch in one pass, or those of each view.
    """

    images_together: bool
    encodings: tuple[Request, ...]

    def __call__(
        self,
        views: Mapping[Request, Sequence[TokenizedView]],
        needed: Mapping[Request, Sequence[int]],
        image_starts: Sequence[Sequence[int]],
    ) -> BatchPlan:
        """Return what is run, and where each encoding is found in it."""


class Engine(ABC):
    """Encodes the views of a batch. Engines differ in what they compute twice, never in what they return.

    Attributes:
        name: As in settings.
        shares_passes: Whether views share passes, so that FLOPs and memory follow the closed forms of jepa_vlm.cost.
    """

    name: str
    shares_passes: bool

    @abstractmethod
    def planner(self, encodings: Sequence[Request], *, dropout: bool) -> Planner:
        """Return what plans a batch of these encodings.

        Args:
            encodings: What the objective needs.
            dropout: Whether the backbone drops out in training, which targets must not.
        """

    @abstractmethod
    def check(self, backbone: Backbone) -> None:
        """Check that the engine can run a backbone.

        Raises:
            BackboneError: If it cannot.
        """

    @abstractmethod
    def prepare(self, backbone: Backbone) -> None:
        """Let the backbone's layers call the engine's attention."""

    @abstractmethod
    def run(
        self, backbone: Backbone, weights: TargetWeights, batch: Batch, slot_inputs: Mapping[str, Tensor]
    ) -> dict[str, RowStates]:
        """Return the states of every row of a batch.

        Args:
            backbone: The model.
            weights: Switches to the weights that a view's policy names.
            batch: From the collator, with this engine's planner.
            slot_inputs: Learned inputs by owner, ("slots dim").
        """

    def run_ahead(
        self, backbone: Backbone, weights: TargetWeights, batches: Sequence[Batch], slot_inputs: Mapping[str, Tensor]
    ) -> list[Batch]:
        """Compute what batches without an update between them can share; return the batches with what was found."""
        return list(batches)


def call_attention(base: Any, names: Mapping[str, str]) -> None:
    """Let each part of a model call the attention of this name.

    Args:
        base: The Hugging Face model.
        names: By part of the configuration: ``text_config``, ``vision_config``.

    Raises:
        BackboneError: If the model does not let it be chosen: transformers would warn, and keep its own.
    """
    kind = base.config.model_type
    if all(getattr(base.config, part, base.config)._attn_implementation == name for part, name in names.items()):
        return  # setting it walks through all modules
    try:
        base.set_attn_implementation(dict(names))
    except (ValueError, ImportError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise BackboneError(f"The family {kind!r} cannot call the attention {dict(names)}: {reason}") from None
    wanted, found = names["text_config"], base.config.get_text_config()._attn_implementation
    if found != wanted:
        raise BackboneError(
            f"The decoder of {kind!r} keeps the attention {found!r} where {wanted!r} is needed; its layers do not go "
            "through transformers' attention interface. Train with --engine separate."
        )
