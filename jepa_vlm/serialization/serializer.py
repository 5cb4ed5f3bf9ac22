"""From a trajectory to the tokens of its views. Every mask comes from spans recorded while rendering."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.adapters import Adapter, ImageTokens
from jepa_vlm.adapters.chat import turn_opening
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.serialization.latent_turn import latent_turn
from jepa_vlm.serialization.padded_turn import padded_turn
from jepa_vlm.serialization.template import Rendered, Span, refuse_reserved, render, template_tokens
from jepa_vlm.serialization.texts import answered_directly
from jepa_vlm.serialization.tokenise import Tokens, tokenise
from jepa_vlm.serialization.tokenized import IGNORED, TokenizedView
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import (
    Answer,
    Conversation,
    Encoding,
    LatentConversation,
    PaddedConversation,
    Question,
    TrajectoryOnly,
    View,
)

Insertion = tuple[int, int]  # a token of the conversation, and how many slots come right after it


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
        self._added = tuple(token.content for token in added)
        self._reserved = tuple(token.content for token in added if token.special)

    @cached_property
    def _blanks(self) -> str:
        return turn_opening(self.processor).blanks

    def images(self, trajectory: Trajectory) -> list[ImageTokens]:
        """Return the tokens that stand for each image, from its header alone.

        Raises:
            DataError: If an image is missing, unreadable, or of a shape that the processor refuses.
        """
        images = trajectory.all_images
        try:
            return [self.adapter.image_tokens(self.processor, *i.size, together=len(images)) for i in images]
        except DataError as err:
            raise err.at(f"Trajectory {trajectory.id!r}") from None

    def check(self, trajectory: Trajectory, views: Sequence[View] = ()) -> None:
        """Check what can be checked cheaply before a run begins: texts, images by their headers, and looks.

        Args:
            trajectory: The example.
            views: Those that will be asked for.

        Raises:
            DataError: If a text contains a special token, an image cannot be read or has an impossible shape, or latent
                slots have nothing to stand for.
        """
        images = self.images(trajectory)
        refuse_reserved(trajectory, self._reserved_of(trajectory, images))
        for view in views:
            if isinstance(view, LatentConversation):
                refuse_reserved(trajectory, view.tokens)
                latent_turn(trajectory, view, images)

    def views(
        self, trajectory: Trajectory, encodings: Sequence[Encoding], images: Sequence[ImageTokens] | None = None
    ) -> list[TokenizedView]:
        """Return the tokens of each encoding's view.

        Args:
            trajectory: The example.
            encodings: What to serialise; slots are placed where their view says.
            images: The tokens of each image; read from the images' headers if not given.

        Raises:
            DataError: If a text contains a special token, or the answer is to be encoded and there is none.
            BackboneError: If the chat template cannot render the conversation faithfully.
        """
        written = self.images(trajectory) if images is None else images
        conversations: dict[bool, _Marked] = {}
        views = []
        for encoding in encodings:
            view = encoding.view
            if isinstance(view, LatentConversation):
                views.append(self._latent_view(trajectory, view, written))
                continue
            if isinstance(view, PaddedConversation):
                views.append(self._padded_view(trajectory, view, written))
                continue
            direct = isinstance(view, Answer)
            if direct not in conversations:
                conversations[direct] = (
                    self.conversation(answered_directly(trajectory), written[: len(trajectory.images)])
                    if direct
                    else self.conversation(trajectory, written)
                )
            views.append(self._view(conversations[direct], encoding))
        return views

    def conversation(
        self,
        trajectory: Trajectory,
        images: Sequence[ImageTokens],
        *,
        structure: Sequence[str] = (),
    ) -> _Marked:
        """Return the whole conversation's tokens with all marks, from which views are cut.

        Args:
            trajectory: What is rendered.
            images: The tokens of each image.
            structure: Special tokens that its texts may hold.
        """
        rendered = render(
            self.processor,
            trajectory,
            image_token=self.adapter.placeholder(self.processor),
            reserved=[token for token in self._reserved_of(trajectory, images) if token not in structure],
        )
        tokens = tokenise(self.processor.tokenizer, rendered, images, self.adapter.feature_id)
        return _mark(tokens, self.adapter, rendered, images, self._blanks)

    def _reserved_of(self, trajectory: Trajectory, images: Sequence[ImageTokens]) -> tuple[str, ...]:
        """Return the special tokens that no text of a trajectory may hold: all but those that it keeps.

        Raises:
            DataError: If it keeps a token that the backbone lacks, or that structures a conversation or an image.
        """
        if not trajectory.keep:
            return self._reserved
        tokenizer, video = self.processor.tokenizer, getattr(self.processor, "video_token", None)
        named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, video)
        written = (template_tokens(self.processor), *(image.text for image in images), *filter(None, named))
        for token in trajectory.keep:
            if token not in self._added:
                reason = "which this backbone lacks; declare it as an added token, or take a backbone that has it"
            elif token in self._reserved and any(token in text for text in written):
                reason = "which structures conversations or images; only tokens such as a box's can be kept"
            else:
                continue
            raise DataError(f"Trajectory {trajectory.id!r} keeps {token!r}, {reason}.", "special token")
        return tuple(token for token in self._reserved if token not in trajectory.keep)

    def _latent_view(
        self, trajectory: Trajectory, view: LatentConversation, images: Sequence[ImageTokens]
    ) -> TokenizedView:
        """Return the one turn with its looks, slots put in between each START and END."""
        reserved = self._reserved_of(trajectory, images)
        refuse_reserved(trajectory, tuple(dict.fromkeys((*reserved, *view.tokens))))
        start, end, *_ = ids = [self._one_token(token) for token in view.tokens]
        if self.adapter.counts_images:
            kind = self.adapter.config.model_type
            raise BackboneError(f"Latent slots need features of single images; {kind!r} encodes all of them together.")
        turn = latent_turn(trajectory, view, images)
        marked = self.conversation(turn.trajectory, images[: len(trajectory.images)], structure=view.tokens)
        pairs = (marked.input_ids[:-1] == start) & (marked.input_ids[1:] == end)
        starts = pairs.nonzero()[:, 0].tolist()
        if view.borders == "given":
            marked = marked.untrained([(at, at + 1, len(view.after)) for at in starts])
        cut = marked.cut(
            torch.arange(len(marked.input_ids)),
            last=marked.last_token,
            turn_end=marked.turn_end,
            insertions=[(at, look.count) for at, look in zip(starts, turn.looks, strict=True)],
            filler=ids[-1] if view.fed == "token" else self.processor.tokenizer.pad_token_id,
        )
        return replace(cut, trajectory=cut.trajectory | cut.slots, slot_sources=turn.sources)

    def _one_token(self, token: str) -> int:
        ids: list[int] = self.processor.tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise BackboneError(
                f"Latent slots stand between tokens of the vocabulary, but {token!r} is {len(ids)} tokens of this "
                "tokenizer; declare it: Recipe(added_tokens=...), or name tokens that the model has."
            )
        return ids[0]

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
        if isinstance(view, (TrajectoryOnly, Answer)):
            kept = torch.arange(x_end, n)
            if isinstance(view, TrajectoryOnly) and view.context == "image":
                before = torch.arange(x_end)
                kept = torch.cat([before[~marked.question_tokens[:x_end]], kept])
            return marked.cut(kept, last=marked.last_token, turn_end=marked.turn_end)
        raise TypeError(f"Cannot serialise {view!r}.")

    def _padded_view(
        self, trajectory: Trajectory, view: PaddedConversation, images: Sequence[ImageTokens]
    ) -> TokenizedView:
        """Return the conversation with pads in it; no text of the trajectory can hold one."""
        if unknown := [token for token in view.tokens if token not in self._reserved]:
            raise BackboneError(
                f"The pads {', '.join(unknown)} are no special tokens of the backbone; declare them: "
                f"Recipe(added_tokens={tuple(unknown)}), or load_backbone(..., added_tokens=...)."
            )
        refuse_reserved(trajectory, (*self._reserved_of(trajectory, images), *view.tokens))
        turn = padded_turn(trajectory, view)
        marked = self.conversation(turn, images[: len(turn.all_images)], structure=view.tokens)
        whole = marked.cut(torch.arange(len(marked.input_ids)), last=marked.last_token, turn_end=marked.turn_end)
        pads = torch.isin(whole.input_ids, torch.tensor([self._one_token(token) for token in view.tokens]))
        labels = whole.labels if view.supervised else whole.labels.masked_fill(pads, IGNORED)
        return replace(whole, labels=labels, pads=pads)


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
    placed: Tensor
    content: Tensor
    question_tokens: Tensor
    written: Sequence[ImageTokens]
    x_end: int  # where T begins
    last_question: int  # the last token of the user's content: Q's, or of an image behind Q
    last_turn: int  # the last reasoning's first token
    last_token: int  # the last reasoning's last token
    turn_end: int  # the end-of-turn token after it
    offsets: Sequence[Span]

    def untrained(self, places: Sequence[tuple[int, int, int]]) -> _Marked:
        """Return the conversation without labels at stretches: first token, last, and how many characters behind it."""
        labels = self.labels.clone()
        for first, last, behind in places:
            until = self.offsets[last][1] + behind
            labels[first : bisect_right(self.offsets, until, lo=last, key=lambda span: span[1])] = IGNORED
        return replace(self, labels=labels)

    def cut(
        self, kept: Tensor, *, last: int, turn_end: int, insertions: Sequence[Insertion] = (), filler: int = 0
    ) -> TokenizedView:
        """Return the kept tokens as a view, positions restarting at 0, slots inserted; they are fed ``filler``."""
        image_index = self.image_index[kept]
        is_image = image_index >= 0
        placed = self.placed[kept]
        images = tuple(dict.fromkeys(placed[placed >= 0].tolist()))
        slots = dict(insertions)
        repeats = torch.ones_like(kept)
        for token, count in slots.items():
            repeats[kept == token] += count
        is_slot = torch.ones(int(repeats.sum()), dtype=torch.bool)
        places = repeats.cumsum(0) - repeats  # of the kept tokens; slots fill what is left between them
        is_slot[places] = False
        readouts = {name: int(places[kept == token]) for name, token in (("last_token", last), ("turn_end", turn_end))}
        if last in slots:
            readouts["last_pred"] = readouts["last_token"] + slots[last]

        def spread(values: Tensor, filled: int | bool) -> Tensor:
            return torch.full(is_slot.shape, filled, dtype=values.dtype).index_copy(0, places, values)

        tokens = {
            "input_ids": spread(self.input_ids[kept], filler),
            "labels": spread(self.labels[kept], IGNORED),
            "slots": is_slot,
            "image_tokens": spread(is_image, False),
            "content": spread(self.content[kept], False),
            "trajectory": spread(kept >= self.x_end, False),
            "image_rows": spread(self.image_rows[kept], -1),
            "image_index": spread(image_index, -1),
        }
        positions = self.adapter.positions(tokens["image_tokens"], [self.written[i] for i in images])
        prompt = ~tokens["trajectory"] & ~tokens["slots"]
        return TokenizedView(
            **tokens,
            text=_text_of(self.text, self.offsets, kept),
            images=images,
            positions=positions,
            readouts=readouts,
            blocks=self.adapter.blocks(tokens["image_tokens"], prompt),
        )

    def question(self, slots: int, pad: int) -> TokenizedView:
        """Return x with ``slots`` learned inputs right after the user's content; nothing in it is trained."""
        kept = torch.arange(self.x_end)
        end = min(self.last_question + 1, self.x_end - 1)  # a template may write nothing behind Q
        insertions = [(self.last_question, slots)] if slots else []
        return self.cut(kept, last=self.last_question, turn_end=end, insertions=insertions, filler=pad)


def _mark(tokens: Tokens, adapter: Adapter, rendered: Rendered, images: Sequence[ImageTokens], blanks: str) -> _Marked:
    """Carry the text's spans over to its tokens.

    A prompt ends ahead of ``blanks``, which open a turn, so that the model must learn to write them.
    """
    question = torch.zeros_like(tokens.special)
    for span in rendered.question:
        question |= tokens.inside(span)
    labels = torch.full_like(tokens.input_ids, IGNORED)
    content = question | (tokens.image_index >= 0)
    for span in rendered.observations:
        content |= tokens.inside(span)
    starts_of_turns, ends = [], []
    for span in rendered.reasoning:
        ahead = len(blanks) if rendered.text.endswith(blanks, 0, span[0]) else 0
        spoken = tokens.inside((span[0] - ahead, span[1]))
        if span[0] < span[1] and not spoken.any():
            raise DataError(f"A reasoning step has no token of its own: {rendered.text[span[0] : span[1]]!r}.")
        # A turn that only looks has no tokens; what ends it follows at once.
        starts_of_turns.append(int((spoken if spoken.any() else tokens.begin >= span[0]).nonzero()[0]))
        ends.append(starts_of_turns[-1] + int(spoken.sum()))
        trained = spoken.clone()
        # The template's end-of-turn token: the model must learn to stop. Where a template has none, what follows is
        # another's turn, which it must not learn to begin; the last turn always ends with one.
        trained[ends[-1]] = tokens.special[ends[-1]]
        labels[trained] = tokens.input_ids[trained]
        content |= spoken
    return _Marked(
        adapter=adapter,
        text=rendered.text,
        input_ids=tokens.input_ids,
        labels=labels,
        image_index=tokens.image_index,
        image_rows=tokens.image_rows,
        placed=tokens.placed,
        content=content,
        question_tokens=question,
        written=images,
        x_end=int((tokens.end <= rendered.trajectory).sum()),
        last_question=int((tokens.begin < rendered.question_end).nonzero()[-1]),
        last_turn=starts_of_turns[-1],
        last_token=ends[-1] - 1,
        turn_end=ends[-1],
        offsets=tokens.spans,
    )


def _text_of(text: str, offsets: Sequence[Span], kept: Tensor) -> str:
    """Return the kept tokens' text, each image placeholder once."""
    pieces, at = [], 0
    for start, end in dict.fromkeys(offsets[i] for i in kept.tolist()):  # an image's tokens have one span
        pieces.append(text[max(start, at) : end])
        at = max(at, end)
    return "".join(pieces)
