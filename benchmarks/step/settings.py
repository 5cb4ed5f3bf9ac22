"""The settings of a benchmark run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch

from benchmarks.mixes import MIXES
from benchmarks.shapes import SHAPES
from benchmarks.step.variants import ON_DEVICE_ONLY, VARIANTS
from jepa_vlm.errors import JepaVLMError

DeviceName = Literal["auto", "cpu", "cuda", "meta"]
ORDER = (
    "sft",
    "sft_stock",
    "pearl",
    "pearl_cached",
    "pearl_separate",
    "pearl_released",
    "lvr",
)  # order of the tables
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@final
@dataclass(frozen=True, kw_only=True)
class SuiteSettings:
    """The settings of one run of a suite.

    Args:
        shape: A name of ``SHAPES``.
        mixes: Names of ``MIXES``; all if empty.
        variants: Names of ``VARIANTS``; all that the device can run if empty.
        checkpointing: Whether activation checkpointing is on: False, True, or both in turn.
        examples: Examples of a micro-batch.
        rounds, warmup: Number of measured rounds, and of rounds before them.
        device: ``meta`` counts and times nothing; ``auto`` is the GPU if there is one, else the CPU for the tiny shape
            and meta for the real ones.
        dtype: Type of the base weights; ``auto`` is float32 on a CPU and bfloat16 elsewhere.
        seed: Random seed of lengths, words, pictures and weights.
        stock_attention: transformers' attention in the stock steps.
        crossover: Sizes in tokens of further micro-batches, to find where the time of launches stops to matter.
        deterministic: Whether torch is asked for deterministic kernels, as in a training run.

    Raises:
        UnknownNameError: If a shape, mix or variant does not exist.
        JepaVLMError: If the device is not there or cannot do what is asked.
        ValueError: If a number is out of its range.
    """

    shape: str = "tiny"
    mixes: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    checkpointing: tuple[bool, ...] = (False,)
    examples: int = 4
    rounds: int = 9
    warmup: int = 2
    device: DeviceName = "auto"
    dtype: str = "auto"
    seed: int = 0
    stock_attention: str = "sdpa"
    crossover: tuple[int, ...] = ()
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("examples", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for registry, names in ((SHAPES, (self.shape,)), (MIXES, self.mixes), (VARIANTS, self.variants)):
            for name in names:
                registry[name]
        if self.device == "cuda" and not torch.cuda.is_available():
            raise JepaVLMError("--device cuda needs an NVIDIA GPU that torch can use; leave it out, or take meta.")
        if self.crossover and self.place.type == "meta":
            raise JepaVLMError("--crossover times micro-batches, and the meta device has no time; take cpu or cuda.")
        refused = [name for name in self.variants if name in ON_DEVICE_ONLY and self.place.type == "meta"]
        if refused:
            raise JepaVLMError(f"{', '.join(refused)} cannot be counted on the meta device; take --device cpu or cuda.")

    @property
    def place(self) -> torch.device:
        """The device that is measured."""
        if self.device != "auto":
            return torch.device(self.device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu" if self.shape == "tiny" else "meta")

    @property
    def precision(self) -> torch.dtype:
        """The type of the base weights."""
        if self.dtype == "auto":
            return torch.float32 if self.place.type == "cpu" else torch.bfloat16
        return PRECISIONS[self.dtype]

    def chosen_mixes(self) -> Sequence[str]:
        """Return the mixes to measure."""
        return self.mixes or tuple(MIXES)

    def chosen_variants(self) -> Sequence[str]:
        """Return the variants to measure, in the order of the tables."""
        known = [*ORDER, *(name for name in VARIANTS if name not in ORDER)]
        chosen = self.variants or tuple(name for name in known if not self._cannot(name))
        return sorted(chosen, key=known.index)

    def recorded(self) -> dict[str, Any]:
        """Return the settings that a record holds."""
        return {
            "shape": self.shape,
            "note": SHAPES[self.shape].note,
            "dtype": str(self.precision).removeprefix("torch."),
            "rounds": self.rounds,
            "warmup": self.warmup,
            "lora_rank": SHAPES[self.shape].lora_rank,
            "stock_attention": self.stock_attention,
            "deterministic": self.deterministic,
            "seed": self.seed,
        }

    def _cannot(self, variant: str) -> bool:
        return variant in ON_DEVICE_ONLY and self.place.type == "meta"
