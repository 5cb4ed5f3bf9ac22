"""ThinkMorph's four tasks: parquet with one intermediate picture for each row.

Columns are pid, question, answer, problem_image_0, resoning_thought_0, reasoning_image_0, resoning_thought_1; thoughts
are spelt so, or ``reasoning_thought_...``. Thoughts carry no tags, and there are no boxes. The tasks differ in size
(Visual_Search has 6,990 rows, the others 6,000): ``cap`` takes the same number of each.

Source: ThinkMorph/ThinkMorph@c1a48ad, README.md, and loaders of its users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.images import ImageRoots
from jepa_vlm.trajectories.formats.records import FORMATS, Keys, OpenImage, ParsedRows
from jepa_vlm.trajectories.formats.tables import CELL, Columns, HubPath, embedded_image, open_tables
from jepa_vlm.trajectories.json_values import JsonObject, choice, field
from jepa_vlm.trajectories.rows import Joined, Picked, Rows
from jepa_vlm.trajectories.trajectory import Step, Trajectory

STYLES = ("pearl", "original")
SHOWN = "Here is the focused image."  # in Pearl's released code
COLUMNS: Columns = {
    "question": ("question",),
    "answer": ("answer",),
    "problem_image_0": ("problem_image_0",),
    "thought_0": ("resoning_thought_0", "reasoning_thought_0"),
    "reasoning_image_0": ("reasoning_image_0",),
    "thought_1": ("resoning_thought_1", "reasoning_thought_1"),
}
KEYS = Keys(
    ("question", "answer", "thought_0", "thought_1"),
    {"problem_image_0": CELL, "reasoning_image_0": CELL},
    ("pid", "full_text_only_thought"),
)


@FORMATS.register("thinkmorph")
def read_thinkmorph(
    path: Path | HubPath,
    *,
    cap: str = "",
    split: str = "train",
    style: str = "pearl",
    images: str = "",
    roots: str = "",
) -> Rows:
    """Return the rows of a parquet file, or of all the tasks below a folder.

    Args:
        path: The file, the folder, or one task on the hub.
        cap: The largest number of rows of each task: those whose ids have the smallest SHA-256, in the file's order.
            The others are counted as dropped.
        split: The split to read, in a folder of several or on the hub.
        style: ``pearl`` takes the thoughts as they are; ``original`` as ThinkMorph trains on them,
            ``<think>...</think>`` and, at the end, ``<answer>...</answer>``.
        images: Folder of images that are stored as paths; by default the file's.
        roots: A JSON file of folders by the beginning of a path, as for ``lvr``.
    """
    choice(style, STYLES, "style")
    if cap and not (cap.isdecimal() and int(cap) >= 1):
        raise DataError(f"cap must be a whole number of at least 1, got {cap!r}.")
    most = int(cap) if cap else None
    tasks: dict[str, list[Rows]] = {}
    for task, folder, records in open_tables(path, COLUMNS, split=split):
        opened = ImageRoots.of(images or folder, roots).image
        rows = ParsedRows(records, partial(_trajectory, task=task, style=style), KEYS, opened)
        tasks.setdefault(task, []).append(rows)
    return Joined([capped(Joined(parts), most) for parts in tasks.values()])


def capped(rows: Rows, most: int | None) -> Rows:
    """Return at most ``most`` rows, chosen by their ids alone."""
    if most is None or len(rows) <= most:
        return rows
    ids: Sequence[str] = rows.ids
    first = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())[:most]
    return Picked(rows, sorted(first), why="beyond the cap")


def _trajectory(row: JsonObject, identity: str, image: OpenImage, *, task: str, style: str) -> Trajectory:
    names = ("problem_image_0", "reasoning_image_0")
    problem, result = (embedded_image(row.get(name), name, image) for name in names)
    thoughts = [field(row, name, str) for name in ("thought_0", "thought_1")]
    if not all(thought.strip() for thought in thoughts):
        raise DataError("a thought is empty; each row needs one before and one after its picture.", "key")
    answer = field(row, "answer", str)
    first, last = thoughts
    if style == "original":
        first, last = f"<think>{first}</think>", f"<think>{last}</think><answer>{answer}</answer>"
    return Trajectory(
        id=identity,
        images=(problem,),
        question=field(row, "question", str),
        steps=(Step(first, image=result, observation=SHOWN if style == "pearl" else ""), Step(last)),
        answer=answer,
        task=task,
    )
