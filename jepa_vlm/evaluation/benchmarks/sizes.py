"""How many items the published benchmarks have, by task: what a local copy is held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from jepa_vlm.trajectories import MultipleChoice

SIZES: Mapping[str, Mapping[str, int]] = {
    "vstar": {"direct_attributes": 115, "relative_position": 76},
    "mmvp": {"mmvp": 300},
    "blink": {
        "Art_Style": 117,
        "Counting": 120,
        "Forensic_Detection": 132,
        "Functional_Correspondence": 130,
        "IQ_Test": 150,
        "Jigsaw": 150,
        "Multi-view_Reasoning": 133,
        "Object_Localization": 122,
        "Relative_Depth": 124,
        "Relative_Reflectance": 134,
        "Semantic_Correspondence": 139,
        "Spatial_Relation": 143,
        "Visual_Correspondence": 172,
        "Visual_Similarity": 135,
    },
}
PAPER_SUBSETS = ("Counting", "IQ_Test", "Jigsaw", "Relative_Reflectance", "Spatial_Relation")


def published_sizes(benchmark: str, items: Sequence[MultipleChoice]) -> dict[str, int]:
    """Return how many items each task of ``items`` has as published; {} for a benchmark that is made on demand.

    Of BLINK only the subsets that were asked for count; of the others, every task does.
    """
    sizes = SIZES.get(benchmark, {})
    asked = {item.task for item in items}
    return {task: size for task, size in sizes.items() if benchmark != "blink" or task in asked}


def differences(items: Sequence[MultipleChoice], published: Mapping[str, int]) -> list[str]:
    """Return one phrase for each task that has more or fewer items than were published."""
    here = Counter(item.task for item in items)
    tasks = {**published, **{task: published.get(task, 0) for task in here}} if published else {}
    return [f"{task} has {here[task]} of {size} items" for task, size in tasks.items() if here[task] != size]
