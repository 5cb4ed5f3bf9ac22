"""A page to look at trajectories: their images and steps, and how each view turns them into tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, final

from jepa_vlm.report.embedded_pictures import trajectory_pictures
from jepa_vlm.report.page import write_page
from jepa_vlm.trajectories import Step, Trajectory
from jepa_vlm.views import TokenizedView

KINDS = {
    "trained": "the next-token loss is taken here",
    "context": "read, not trained",
    "image": "an image's tokens",
    "pred": "[PRED] slots, learned inputs",
    "latent": "latent slots, not trained as words",
}

TrajectoryEntry = tuple[Trajectory, Mapping[str, TokenizedView], Mapping[str, Sequence[str]]]
"""A trajectory, its views by name, and by view name the text of each token (``decode_tokens``)."""


@final
@dataclass(frozen=True)
class TokenRun:
    """Tokens of one kind that the page shows together: one text token, all tokens of an image, or neighbouring slots.

    Args:
        kind: One of ``KINDS``.
        text: Text on the page.
        count: Number of tokens.
        breaks: Whether a line ends after the text.
    """

    kind: str
    text: str
    count: int = 1
    breaks: bool = False


def write_trajectory_page(entries: Sequence[TrajectoryEntry], path: Path) -> Path:
    """Write the page and return its path.

    Args:
        entries: The trajectories with their views and token texts.
        path: Path of the HTML file.

    Raises:
        ValueError: If a view does not have one text per token.
        DataError: If an image cannot be read or a box lies outside its image.
        JepaVLMError: If jinja2 is not installed.
    """
    shown = [
        {
            "trajectory": trajectory,
            "pictures": trajectory_pictures(trajectory),
            "question": _question(trajectory),
            "steps": [_step(step) for step in trajectory.steps],
            "views": [_view(name, view, tokens[name]) for name, view in views.items()],
        }
        for trajectory, views, tokens in entries
    ]
    write_page("trajectories.html", path, {"entries": shown, "kinds": KINDS})
    return path


def _question(trajectory: Trajectory) -> list[str | int]:
    """Return the parts of the question: its text, and the numbers of its images if they do not all come first."""
    if not trajectory.image_places:
        return [trajectory.question]
    numbers = count()
    return [part if isinstance(part, str) else next(numbers) for part in trajectory.asked]


def decode_tokens(tokenizer: Any, view: TokenizedView) -> list[str]:
    """Return the text of each token of a view."""
    return [str(tokenizer.decode([token])) for token in view.input_ids.tolist()]


def token_runs(view: TokenizedView, tokens: Sequence[str]) -> list[TokenRun]:
    """Return a view's tokens in runs of one kind. The tokens of an image are one run, and so are neighbouring slots.

    Raises:
        ValueError: If the numbers of tokens and texts differ.
    """
    if len(tokens) != len(view.input_ids):
        raise ValueError(f"A view needs one text per token: {len(view.input_ids)} tokens, {len(tokens)} texts.")
    runs: list[TokenRun] = []
    previous = -1
    for place, text in enumerate(tokens):
        image = int(view.image_index[place])
        if view.slots[place]:
            kind, name = ("pred", "[PRED]") if view.slot_sources is None else ("latent", "latent")
            count = runs.pop().count + 1 if runs and runs[-1].kind == kind else 1
            runs.append(TokenRun(kind, f"{name} ×{count}", count))
        elif view.image_tokens[place]:
            count = runs.pop().count + 1 if image == previous else 1
            runs.append(TokenRun("image", f"image {image} ×{count}", count))
        else:
            kind = "trained" if int(view.labels[place]) != -100 else "context"
            runs.append(TokenRun(kind, text.replace("\n", "↵"), breaks="\n" in text))
        previous = image if view.image_tokens[place] else -1
    return runs


def _view(name: str, view: TokenizedView, tokens: Sequence[str]) -> dict[str, object]:
    runs = token_runs(view, tokens)
    counts: Counter[str] = Counter()
    for run in runs:
        counts[run.kind] += run.count
    return {"name": name, "runs": runs, "counts": {kind: counts[kind] for kind in KINDS}, "total": len(tokens)}


def _step(step: Step) -> dict[str, str]:
    call = step.call
    return {
        "text": step.text,
        "call": f"{call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})" if call else "",
        "observation": step.observation,
    }
