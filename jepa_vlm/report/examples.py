"""The example items of a run, kept in its folder so that its report can be written again from the folder alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.report.pictures import Picture, page_scale, picture, trajectory_pictures
from jepa_vlm.trajectories import MultipleChoice, Trajectory
from jepa_vlm.whole_files import write_whole

FILE = "examples.json"


@final
@dataclass(frozen=True)
class Example:
    """One item as a report shows it.

    Args:
        id, task: The item's.
        prompt: What is asked.
        truth: The right letter.
        pictures: The item's images, or all images of its expert trajectory with the tool calls' boxes.
        steps: The expert's turns; empty if no trajectory is known.
    """

    id: str
    task: str
    prompt: str
    truth: str
    pictures: tuple[Picture, ...]
    steps: tuple[str, ...]


def save_examples(folder: Path, items: Sequence[MultipleChoice], trajectories: Sequence[Trajectory] = ()) -> None:
    """Write a run folder's examples; an item's expert trajectory is the one with the item's id."""
    experts = {trajectory.id: trajectory for trajectory in trajectories}
    examples = [asdict(_example(item, experts.get(item.id))) for item in items]
    write_whole(folder / FILE, json.dumps(examples, indent=1, ensure_ascii=False) + "\n")


def read_examples(path: Path) -> list[Example]:
    """Return the examples of a run folder.

    Raises:
        DataError: If the file is not one that ``save_examples`` wrote.
    """
    try:
        held: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [
            Example(**{**one, "pictures": tuple(Picture(**p) for p in one["pictures"]), "steps": tuple(one["steps"])})
            for one in held
        ]
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(f"{path} does not hold examples ({err!r}); delete it, or write it again.") from None


def _example(item: MultipleChoice, expert: Trajectory | None) -> Example:
    if expert is None:
        scale = page_scale(item.images)
        shown = [picture(image.load(), f"image {i}", scale=scale) for i, image in enumerate(item.images)]
    else:
        shown = trajectory_pictures(expert)
    return Example(
        id=item.id,
        task=item.task,
        prompt=item.prompt,
        truth=item.letters[item.answer],
        pictures=tuple(shown),
        steps=tuple(step.spoken for step in expert.steps) if expert is not None else (),
    )
