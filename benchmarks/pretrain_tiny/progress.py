"""How well a model answers each kind of question in each form on held-out lessons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice

from benchmarks.pretrain_tiny.batches import Batch, Encoder
from benchmarks.pretrain_tiny.forward import Forward
from benchmarks.pretrain_tiny.lessons import lessons

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
