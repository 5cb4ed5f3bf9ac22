"""The record of a comparison that no run was needed for."""

from __future__ import annotations

from typing import Any

import numpy as np

from jepa_vlm.comparison import Answered, Trained, ablations, accuracy_record
from tests.comparison.evaluations import evaluation

BENCHMARKS = ("playground:maze", "playground:one-tool-one-call", "vstar:/data/vstar")
TERMS = {"next_token": "1 * NextToken(trained='all')", "next_latent": "0.2 * NextLatentRegularizer(horizon=1)"}


def comparison(*, seeds: int = 2, names: tuple[str, ...] = ("sft", "pearl"), items: int = 60) -> dict[str, Any]:
    """Return a record of as many arms and seeds; the first arm is the baseline, the last one the best."""
    rng = np.random.default_rng(0)
    tasks = ["visual-search", "relative-position"] * (items // 2)

    def answered(arm: str, seed: int | None, share: float) -> Answered:
        found = {}
        for benchmark in BENCHMARKS:
            marks = (rng.random(items) < share).astype(int).tolist()
            own = tasks if benchmark.endswith("one-call") else ()
            found[benchmark] = evaluation(marks, tasks=own, benchmark=benchmark)
        return Answered(arm, seed, found)

    models = [answered("untrained", None, 0.5)]
    for place, name in enumerate(names):
        models += [answered(name, seed, 0.6 + 0.3 * place / len(names)) for seed in range(seeds)]
    baselines = dict.fromkeys(("untrained", *names[1:]), names[0]) | {names[0]: None}
    terms = {name: dict(list(TERMS.items())[: place + 1]) for place, name in enumerate(names)}
    record = accuracy_record(models, baselines)
    machine = {"kind": "cpu", "cpu": "Some CPU", "threads": 1}
    return {
        "format": "jepa-vlm-comparison-1",
        "command": ["jepa-vlm", "compare", *names],
        "backbone": "tiny-qwen2.5-vl",
        "match": "flops",
        "baseline": names[0],
        "jobs": 2,
        "asking": {"protocol": None, "scoring": None, "questions": items, "seed": 0},
        "arms": [{"name": "untrained", "baseline": names[0], "seeds": []}]
        + [
            {
                "name": name,
                "recipe": name,
                "parameters": {},
                "data": "playground:maze",
                "baseline": baselines[name],
                "seeds": list(range(seeds)),
                "terms": terms[name],
                "inference": "direct",
                "values": {"steps": 600, "learning_rate": 3e-3, "seed": None},
                "given": False,
            }
            for name in names
        ],
        **record,
        "ablations": ablations([Trained(name, terms[name], {}) for name in names]),
        "cost": {"untrained": {"inference": {"scoring": ["letter-logits"], "tokens": 0.0, "seconds": 0.02}}}
        | {
            name: {
                "steps": 600 - 100 * place,
                "trajectories": 4800 - 800 * place,
                "tokens": 1_000_000,
                "flops": 3_000_000_000_000,
                "step_memory": 30_000_000,
                "counted_on": 32,
                "seconds": [190.0] * seeds,
                "peak_memory": 900_000_000,
                "memory": "process",
                "trained": 600_000,
                "inference": {"scoring": ["letter-logits"], "tokens": 0.0, "seconds": None},
            }
            for place, name in enumerate(names)
        },
        "machines": [machine],
        "versions": {"torch": "2.13.0"},
        "commit": "0123",
        "notes": [],
    }
