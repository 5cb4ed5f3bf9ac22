"""A record as the suite writes it, by hand: two steps timed, one that ran out of memory."""

from __future__ import annotations

from typing import Any

from benchmarks.step.suite import ROOFS
from benchmarks.step.training_step import PHASES


def spread(median: float, error: float = 0.001) -> dict[str, float]:
    return {"median": median, "low": 0.98 * median, "high": 1.02 * median, "error": error, "n": 9}


def variant(seconds: float, *, flops: int, error: float = 0.001, allocated: int | None = None) -> dict[str, Any]:
    parts = dict.fromkeys(PHASES, flops // 7)
    return {
        "failure": "",
        "counted": {
            "flops": parts, "bytes": parts, "operations": dict.fromkeys(PHASES, 100), "saved": 1000, "peak": 1200,
            "largest": 100, "total_flops": flops, "total_operations": 700, "over_closed_form": 1.0,
        },
        "timed": {
            "seconds": spread(seconds, error), "samples": [seconds] * 9,
            "phases": dict.fromkeys(PHASES, seconds / 7), "examples_per_second": 4 / seconds,
            "tokens_per_second": 2000 / seconds, "model_utilisation": 0.5, "peak_allocated": allocated,
            "idle": None if allocated is None else 0.25, "loss": 7.0,
            "over": {"sft": spread(seconds / 0.4)}, "row_beyond_sft": spread(0.01), "hardware_utilisation": 0.5,
        },
        "roofline": {
            phase: {
                "intensity": 10.0, "floors": dict.fromkeys(ROOFS, 0.01), "bound_by": "arithmetic", "attained": 0.5,
            }
            for phase in PHASES
        },
    }  # fmt: skip


def record() -> dict[str, Any]:
    parts = {"vision": 1, "conversation": 2, "slots": 1, "target": 1, "head": 1, "next_latent": 1, "total": 7}
    small = {"failure": "", "seconds": spread(0.2), "arithmetic": 0.1, "launches": 0.15}
    return {
        "suite": "step",
        "schema": 1,
        "machine": {"kind": "cuda", "cpu": "a processor", "threads": 1, "gpu": "a GPU"},
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
        "commit": "0123456789abcdef",
        "config": {
            "shape": "3b", "note": "Qwen2.5-VL-3B", "dtype": "bfloat16", "rounds": 9, "warmup": 2, "lora_rank": 64,
            "stock_attention": "sdpa", "deterministic": False, "seed": 0,
        },
        "calls": [
            {
                "command": ["python", "-m", "benchmarks.step", "--shape", "3b"],
                "note": "",
                "ceilings": {"flops": 7e14, "bytes": 4e12, "operation": 5e-6},
            }
        ],
        "cases": [
            {
                "mix": "lvr", "checkpointing": False, "examples": 4, "tokens": 2212, "context": 395.0,
                "trajectory": 158.0, "closed_form": {"sft": parts, "pearl": parts, "pearl_cached": parts, "lvr": parts},
                "variants": {
                    "sft": variant(0.4, flops=35_000),
                    "pearl": variant(0.45, flops=39_000, allocated=10_000),
                    "pearl_released": {"failure": "out of memory"},
                },
            }
        ],
        "crossover": [
            {"mix": "lvr", "wanted": 1024, "examples": 2, "tokens": 1106,
             "variants": {"sft": small, "pearl": {"failure": "out of memory"}}}
        ],
    }  # fmt: skip
