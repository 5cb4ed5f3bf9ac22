"""A batch: everything that is settled before the weights are needed, as tensors and host numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.typing import Hidden
from jepa_vlm.views import Request


@final
@dataclass(frozen=True)
class Suffix:
    """Tokens that continue a prefix which another segment of the packed sequence already computes.

    Args:
        start: Where in the sequence the shared prefix begins.
        prefix: Its length; the suffix sees it whole.
        length: Tokens of the suffix, causal among themselves.
    """

    start: int
    prefix: int
    length: int


@final
@dataclass(frozen=True)
class Layout:
    """Which tokens of a packed sequence see which: causal segments tile its front, suffixes its rest, in order.

    Args:
        segments: Lengths of the causal segments.
        suffixes: See ``Suffix``.
    """

    segments: tuple[int, ...]
    suffixes: tuple[Suffix, ...] = ()

    def __len__(self) -> int:
        return sum(self.segments) + sum(suffix.length for suffix in self.suffixes)


@final
@dataclass(frozen=True)
class Location:
    """Where the tokens of one encoding's views ended up.

    Args:
        sequence: Name of the packed sequence.
        index: For every token of every view, examples one after another: its place in the sequence, -1 if nobody reads
            it.
    """

    sequence: str
    index: Tensor


@final
@dataclass(frozen=True)
class BatchPlan:
    """What an engine runs for a batch, and where each encoding is found in it.

    Args:
        sequences: By name, in the order in which they run.
        locations: By encoding.
    """

    sequences: Mapping[str, Any]
    locations: Mapping[Request, Location]

    def tokens(self) -> int:
        """Return how many tokens the decoder computes: in every sequence, as many as its last place that is read."""
        ends: dict[str, int] = {}
        for location in self.locations.values():
            ends[location.sequence] = max(ends.get(location.sequence, 0), int(location.index.max()) + 1)
        return sum(ends.values())


@final
@dataclass(frozen=True)
class SequenceStates:
    """Tokens of one computed sequence.

    Args:
        hidden: ``last_hidden_state`` after the final norm.
        inputs: What the decoder was fed.
        targets: What its latent slots stand for, ("slots dim"), in the order of the slots; None without any.
        slot_at: The token of each slot, ascending.
    """

    hidden: Hidden
    inputs: Hidden
    targets: Hidden | None = None
    slot_at: Tensor | None = None

    def targets_at(self, places: Tensor) -> Hidden:
        """Return what the latent slots at these places stand for; of no places, nothing."""
        if self.targets is None or self.slot_at is None:
            return self.inputs[:0]
        return self.targets[torch.searchsorted(self.slot_at, places)]

    def at(self, places: Tensor) -> SequenceStates:
        """Return the tokens at these places, in this order."""
        return SequenceStates(self.hidden[places], self.inputs[places])


@final
@dataclass(frozen=True)
class SoftTokens:
    """Where the learned inputs of one predictor go in a packed sequence.

    Args:
        at: Their places, (n,).
        rows: For each place: which of the predictor's inputs, (n,).
    """

    at: Tensor
    rows: Tensor


@final
@dataclass(frozen=True)
class LatentTokens:
    """Latent tokens of a packed sequence that stand for something, in the order of their places.

    Args:
        at: Their places.
        rows: Rows of the images' features that they stand for, one after another.
        slot: For each of these rows: which latent token.
        fed: Which latent tokens are fed what they stand for.
    """

    at: Tensor
    rows: Tensor
    slot: Tensor
    fed: Tensor


@final
@dataclass(frozen=True)
class PackedSequence:
    """Tokens that the decoder computes in one pass.

    Args:
        input_ids: Token identifiers, (tokens,).
        positions: Rotary positions, (axes, tokens).
        groups: Tokens of the same number see each other both ways, -1 is causal, (tokens,); None where all is causal.
        image_at: Places of image features.
        image_rows: For each: its row of the images' features.
        soft_tokens: By the term that owns them.
        latent: See ``LatentTokens``.
        layout: Which tokens see which.
        indices: The layout's tensors for the variable-length kernel; see ``kernel_indices``.
        fed_back: Latent tokens that are fed the state before them; none where all tokens are computed at once.
    """

    input_ids: Tensor
    positions: Tensor
    groups: Tensor | None
    image_at: Tensor
    image_rows: Tensor
    soft_tokens: Mapping[str, SoftTokens]
    latent: LatentTokens
    layout: Layout
    indices: Mapping[str, Any]
    fed_back: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


@final
@dataclass(frozen=True)
class Read:
    """Where a request finds its states.

    Args:
        sequence: Name of the packed sequence; "" where states are stored.
        index: Places in it.
        labels: Of a region: the supervised token at each place, -100 elsewhere.
        document: Of a region or a mean: which example each place belongs to.
        size: Of a mean: number of places of each example.
        slots: Of a region of latent tokens: the places of the tokens themselves.
        latent: Of a stored target: the states.
        lengths: Tokens of the region, by example; empty for one state. For denominators alone.
        supervised: For each example, the offsets of supervised tokens within the region. For denominators alone.
    """

    sequence: str
    index: Tensor
    labels: Tensor | None = None
    document: Tensor | None = None
    size: Tensor | None = None
    slots: Tensor | None = None
    latent: Tensor | None = None
    lengths: tuple[int, ...] = ()
    supervised: tuple[tuple[int, ...], ...] = ()

    def of(self, examples: Sequence[int]) -> Read:
        """Return what denominators count of some of the examples."""
        lengths = tuple(self.lengths[i] for i in examples) if self.lengths else ()
        supervised = tuple(self.supervised[i] for i in examples) if self.supervised else ()
        return replace(self, lengths=lengths, supervised=supervised)

    def pairs(self, horizon: int, *, supervised: bool) -> int:
        """Count (t, i), i = 1..horizon, with t and t + i in the region and, if asked, a supervised token at t + i."""
        offsets = self.supervised if supervised else tuple(tuple(range(length)) for length in self.lengths)
        return sum(min(offset, horizon) for own in offsets for offset in own)


@final
@dataclass(frozen=True)
class Sources:
    """The sources of a mixture's batch.

    Args:
        of: Number of each example's source, (batch,).
        denominators: By source: each term's denominator.
    """

    of: Tensor
    denominators: list[dict[str, int]]


@final
@dataclass(frozen=True)
class Ahead:
    """What was computed of a batch before its turn.

    Args:
        features: Of its images.
        read: By request: the states that it reads of a packed sequence without gradient.
    """

    features: Tensor
    read: Mapping[Request, SequenceStates]


@final
@dataclass(frozen=True)
class Batch:
    """A micro-batch.

    Args:
        ids: Of the trajectories.
        skipped: Names of terms that the batch leaves out.
        counts: By term: its denominator.
        images: What the vision tower is handed: the images of all examples together, or image by image of each
            example, as the engine runs them.
        shown: By example and image: its number among the batch's images; None for an image that nothing needs.
        sequences: What the engine runs, by name, in this order.
        reads: By request: where it finds its states.
        extra: By term: the tensors that it reads besides states.
        sources: Of a mixture's batch, where losses are logged by source.
        ahead: What was computed before the batch's turn.
    """

    ids: tuple[str, ...]
    skipped: tuple[str, ...]
    counts: Mapping[str, int]
    images: Any
    shown: Sequence[Sequence[int | None]]
    sequences: Mapping[str, Any]
    reads: Mapping[Request, Read]
    extra: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    sources: Sources | None = None
    ahead: Ahead | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with all tensors on a device."""
        moved: Batch = map_tensors(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))
        return moved

    def pin_memory(self) -> Batch:
        """Return the batch with all tensors in pinned memory; a ``DataLoader`` calls this."""
        pinned: Batch = map_tensors(self, Tensor.pin_memory)
        return pinned


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return dataclasses, mappings and sequences, however nested, with every tensor in them changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Request):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: map_tensors(getattr(value, each.name), change) for each in fields(value)})
    if isinstance(value, Mapping):
        return {key: map_tensors(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(each, change) for each in value)
    return value
