"""From a trajectory to the tokens of its views. Every mask comes from spans recorded while rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.adapters import Adapter, Grid
from jepa_vlm.errors import DataError
from jepa_vlm.serialization.template import Rendered, Span, refuse_reserved, render
from jepa_vlm.serialization.tokenized import IGNORED, TokenizedView
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import Conversation, Encoding, Question, TrajectoryOnly


@final
class Serializer:
    """Tokenises views with a backbone's processor and chat template. Picklable; holds no weights.

    Args:
        processor: The backbone's.
        adapter: Its family.
    """

    def __init__(self, *, processor: Any, adapter: Adapter) -> None:
        self.processor, self.adapter = processor, adapter
        added = processor.tokenizer.added_tokens_decoder.values()
        self._reserved = tuple(token.content for token in added if token.special)

    def grids(self, trajectory: Trajectory) -> list[Grid]:
        """Return the patch grid of every image, from its header alone.

        Raises:
            DataError: If an image is missing, unreadable, or of a shape that the processor refuses.
        """
        try:
            return [self.adapter.grid(self.processor.image_processor, *image.size) for image in trajectory.all_images]
        except DataError as err:
            raise err.at(f"Trajectory {trajectory.id!r}") from None

    def check(self, trajectory: Trajectory) -> None:
        """Check what can be checked cheaply before a run begins: texts, and images by their headers.

        Raises:
            DataError: If a text contains a special token, or an image cannot be read or has an impossible shape.
        """
        refuse_reserved(trajectory, self._reserved)
        self.grids(trajectory)

    def views(
        self, trajectory: Trajectory, encodings: Sequence[Encoding], grids: Sequence[Grid] | None = None
    ) -> list[TokenizedView]:
        """Return the tokens of each encoding's view.

        Args:
            trajectory: The example.
            encodings: What to serialise; slots are placed where their view says.
            grids: Patch grid of each image; read from the images if not given.

        Raises:
            DataError: If a text contains a special token.
            BackboneError: If the chat template cannot render the conversation faithfully.
        """
        conversation = self.conversation(trajectory, self.grids(trajectory) if grids is None else grids)
        return [self._view(conversation, encoding) for encoding in encodings]

    def conversation(self, trajectory: Trajectory, grids: Sequence[Grid]) -> _Marked:
        """Return the whole conversation's tokens with all marks, from which views are cut."""
        rendered = render(
            self.processor,
            trajectory,
            image_token=self.adapter.image_token,
            reserved=self._reserved,
        )
        return _mark(self.processor.tokenizer, self.adapter, rendered, grids)

    def _view(self, marked: _Marked, encoding: Encoding) -> TokenizedView:
        view = encoding.view
        n, x_end = len(marked.input_ids), marked.x_end
        if isinstance(view, Conversation) or (isinstance(view, TrajectoryOnly) and view.context == "question"):
            whole = marked.cut(torch.arange(n), last=marked.last_token, turn_end=marked.turn_end)
            if isinstance(view, Conversation) and view.trained == "last":
                earlier = torch.arange(n) < marked.last_turn
                return replace(whole, labels=whole.labels.masked_fill(earlier, IGNORED))
            return whole
        if isinstance(view, Question):
            count = encoding.slots.count if encoding.slots else 0
            return marked.question(count, self.processor.tokenizer.pad_token_id)
        if isinstance(view, TrajectoryOnly):
            kept = torch.arange(x_end, n)
            if view.context == "image":
                before = torch.arange(x_end)
                kept = torch.cat([before[~marked.question_tokens[:x_end]], kept])
            return marked.cut(kept, last=marked.last_token, turn_end=marked.turn_end)
        raise TypeError(f"Cannot serialise {view!r}.")


@final
@dataclass(frozen=True)
class _Marked:
    """The conversation's tokens, each with its marks."""

    adapter: Adapter
    text: str
    input_ids: Tensor
    labels: Tensor
    image_index: Tensor
    image_rows: Tensor
    content: Tensor
    question_tokens: Tensor
    grids: Sequence[Grid]
    x_end: int  # where T begins
    last_question: int  # Q's last token
    last_turn: int  # the last reasoning's first token
    last_token: int  # the last reasoning's last token
    turn_end: int  # the end-of-turn token after it
    offsets: Sequence[Span]

    def cut(self, kept: Tensor, *, last: int, turn_end: int, slots: int = 0, pad: int = 0) -> TokenizedView:
        """Return the kept tokens as a view, positions restarting at 0, ``slots`` inserted after token ``last``."""
        image_index = self.image_index[kept]
        is_image = image_index >= 0
        images = tuple(dict.fromkeys(image_index[is_image].tolist()))
        place = {int(token): i for i, token in enumerate(kept.tolist())}
        readouts = {"last_token": place[last], "turn_end": place[turn_end] + slots}
        at = place[last] + 1
        if slots:
            readouts["last_pred"] = place[last] + slots
        tokens = {
            "input_ids": _insert(self.input_ids[kept], at, slots, pad),
            "labels": _insert(self.labels[kept], at, slots, IGNORED),
            "slots": _insert(torch.zeros_like(is_image), at, slots, True),
            "image_tokens": _insert(is_image, at, slots, False),
            "content": _insert(self.content[kept], at, slots, False),
            "trajectory": _insert(kept >= self.x_end, at, slots, False),
            "image_rows": _insert(self.image_rows[kept], at, slots, -1),
            "image_index": _insert(image_index, at, slots, -1),
        }
        positions = self.adapter.positions(tokens["image_tokens"], [self.grids[i] for i in images])
        return TokenizedView(
            **tokens,
            text=_text_of(self.text, self.offsets, kept),
            images=images,
            positions=positions,
            readouts=readouts,
        )

    def question(self, slots: int, pad: int) -> TokenizedView:
        """Return x with ``slots`` learned inputs right after Q's last token; nothing in it is trained."""
        kept = torch.arange(self.x_end)
        end = self.last_question + 1
        return self.cut(kept, last=self.last_question, turn_end=end, slots=slots, pad=pad)


def _mark(tokenizer: Any, adapter: Adapter, rendered: Rendered, grids: Sequence[Grid]) -> _Marked:
    """Tokenise the rendered text, each placeholder as often as its image has tokens, and carry the spans over."""
    lengths = [adapter.image_length(grid) for grid in grids]
    coded = tokenizer(rendered.text, return_offsets_mapping=True, add_special_tokens=False)
    starts = {start: i for i, (start, _) in enumerate(rendered.images)}
    # A token reaches to the next one: where the tokenizer composes characters, its own ends are too early.
    ends_at = dict(pairwise(sorted({start for start, _ in coded["offset_mapping"]} | {len(rendered.text)})))
    ids: list[int] = []
    index: list[int] = []
    rows: list[int] = []
    spans: list[Span] = []
    for token, (start, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
        image = starts.get(start, -1) if end > start else -1
        repeat = lengths[image] if image >= 0 else 1
        ids.extend([token] * repeat)
        index.extend([image] * repeat)
        rows.extend(range(repeat) if image >= 0 else [-1])
        spans.extend([(start, ends_at[start])] * repeat)
    input_ids, image_index = torch.tensor(ids), torch.tensor(index)
    begin = torch.tensor([start for start, _ in spans])

    def inside(span: Span) -> Tensor:
        return (begin >= span[0]) & (begin < span[1])

    question = torch.stack([inside(span) for span in rendered.question]).any(0)
    labels = torch.full_like(input_ids, IGNORED)
    content = question | (image_index >= 0)
    for span in rendered.observations:
        content |= inside(span)
    starts_of_turns, ends = [], []
    for span in rendered.reasoning:
        spoken = inside(span)
        if not spoken.any():
            raise DataError(f"A reasoning step has no token of its own: {rendered.text[span[0] : span[1]]!r}.")
        starts_of_turns.append(int(spoken.nonzero()[0]))
        ends.append(int(spoken.nonzero()[-1]) + 1)
        trained = spoken.clone()
        trained[ends[-1]] = True  # the template's end-of-turn token: the model must learn to stop
        labels[trained] = input_ids[trained]
        content |= spoken
    x_end = int((begin < rendered.trajectory).sum())
    return _Marked(
        adapter=adapter,
        text=rendered.text,
        input_ids=input_ids,
        labels=labels,
        image_index=image_index,
        image_rows=torch.tensor(rows),
        content=content,
        question_tokens=question,
        grids=grids,
        x_end=x_end,
        last_question=int(question.nonzero()[-1]),
        last_turn=starts_of_turns[-1],
        last_token=ends[-1] - 1,
        turn_end=ends[-1],
        offsets=spans,
    )


def _insert(values: Tensor, at: int, count: int, fill: int | bool) -> Tensor:
    return torch.cat([values[:at], torch.full((count,), fill, dtype=values.dtype), values[at:]]) if count else values


def _text_of(text: str, offsets: Sequence[Span], kept: Tensor) -> str:
    """Return the kept tokens' text, each image placeholder once."""
    spans = dict.fromkeys(offsets[i] for i in kept.tolist())
    return "".join(text[start:end] for start, end in spans)
