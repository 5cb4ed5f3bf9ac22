"""From a trajectory to the tokens of its views, with a backbone's processor and chat template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

from jepa_vlm.adapters import Adapter, ImageTokens
from jepa_vlm.adapters.chat import turn_opening
from jepa_vlm.adapters.image_tokens import region_rows
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.serialization.template import refuse_reserved, render, template_tokens
from jepa_vlm.serialization.tokens import MarkedTokens, mark, tokenise
from jepa_vlm.trajectories import Box, Trajectory
from jepa_vlm.views import Request, TokenizedView, View


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
        self.added_tokens = tuple(token.content for token in added)
        self.special_tokens = tuple(token.content for token in added if token.special)

    @cached_property
    def blanks(self) -> str:
        """Blanks with which the chat template opens an assistant's turn."""
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

    def example(self, trajectory: Trajectory, images: Sequence[ImageTokens] | None = None) -> RenderedExample:
        """Return a trajectory that views can render.

        Args:
            trajectory: The example.
            images: The tokens of each image; read from the images' headers if not given.
        """
        return RenderedExample(self, trajectory, self.images(trajectory) if images is None else images)

    def check(self, trajectory: Trajectory, views: Sequence[View] = ()) -> None:
        """Check what can be checked cheaply before a run begins: texts, images by their headers, and each view's needs.

        Args:
            trajectory: The example.
            views: Those that will be asked for.

        Raises:
            DataError: If a text contains a special token, an image cannot be read or has an impossible shape, or a
                view lacks what it shows.
        """
        example = self.example(trajectory)
        example.refuse_special_tokens()
        for view in views:
            view.check(example)

    def views(
        self, trajectory: Trajectory, requests: Sequence[Request], images: Sequence[ImageTokens] | None = None
    ) -> list[TokenizedView]:
        """Return the tokens of each request's view.

        Args:
            trajectory: The example.
            requests: What to serialise; slots are placed where their view says.
            images: The tokens of each image; read from the images' headers if not given.

        Raises:
            DataError: If a text contains a special token, or the answer is to be encoded and there is none.
            BackboneError: If the chat template cannot render the conversation faithfully.
        """
        example = self.example(trajectory, images)
        return [request.view.render(example, request.slots.count if request.slots else 0) for request in requests]


@final
class RenderedExample:
    """One trajectory behind a backbone's chat template: what a view needs to render itself.

    Args:
        serializer: Of the backbone.
        trajectory: The example.
        images: The tokens of each of its images.
    """

    def __init__(self, serializer: Serializer, trajectory: Trajectory, images: Sequence[ImageTokens]) -> None:
        self.trajectory, self.images = trajectory, images
        self.special_tokens = serializer.special_tokens
        self._serializer = serializer
        self._whole: MarkedTokens | None = None

    @property
    def pad_id(self) -> int:
        """The padding token, which stands in for slots."""
        return int(self._serializer.processor.tokenizer.pad_token_id)

    def conversation(self, shown: Trajectory | None = None, *, structure: Sequence[str] = ()) -> MarkedTokens:
        """Return the tokens of the whole conversation with all marks.

        Args:
            shown: What is rendered in the trajectory's place: it has the same images, or only the first of them.
            structure: Special tokens that its texts may hold.

        Raises:
            DataError: If a text contains another special token.
            BackboneError: If the chat template cannot render the conversation faithfully.
        """
        if shown is not None:
            return self._conversation(shown, structure)
        if self._whole is None:
            self._whole = self._conversation(self.trajectory, structure)
        return self._whole

    def token_id(self, token: str) -> int:
        """Return the identifier of a token of the vocabulary.

        Raises:
            BackboneError: If the tokenizer makes several tokens of it.
        """
        ids: list[int] = self._serializer.processor.tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            raise BackboneError(
                f"Latent slots stand between tokens of the vocabulary, but {token!r} is {len(ids)} tokens of this "
                "tokenizer; declare it: Recipe(added_tokens=...), or name tokens that the model has."
            )
        return ids[0]

    def rows_in(self, box: Box, image: int) -> list[int]:
        """Return the rows of an image's features that a box touches.

        Raises:
            BackboneError: If the family's visual tokens do not lie in a grid.
            DataError: If the box reaches beyond the image.
        """
        return region_rows(box, self.trajectory.all_images[image].size, self.images[image])

    def refuse_special_tokens(self, shown: Trajectory | None = None, *, also: Sequence[str] = ()) -> None:
        """Check that no text holds a special token of the backbone.

        Args:
            shown: Whose texts; the trajectory's if not given.
            also: Further tokens that no text may hold.

        Raises:
            DataError: If a text holds one.
        """
        own = self.trajectory if shown is None else shown
        refuse_reserved(own, tuple(dict.fromkeys((*self._reserved(own), *also))))

    def refuse_joint_images(self) -> None:
        """Check that the family encodes images one by one, so that there are features of single images.

        Raises:
            BackboneError: If it encodes all of a conversation's images together.
        """
        if self._serializer.adapter.counts_images:
            kind = self._serializer.adapter.config.model_type
            raise BackboneError(f"Latent slots need features of single images; {kind!r} encodes all of them together.")

    def _conversation(self, shown: Trajectory, structure: Sequence[str]) -> MarkedTokens:
        serializer, images = self._serializer, self.images[: len(shown.all_images)]
        rendered = render(
            serializer.processor,
            shown,
            image_token=serializer.adapter.placeholder(serializer.processor),
            reserved=[token for token in self._reserved(shown) if token not in structure],
        )
        tokens = tokenise(serializer.processor.tokenizer, rendered, images, serializer.adapter.feature_id)
        return mark(tokens, serializer.adapter, rendered, images, serializer.blanks)

    def _reserved(self, shown: Trajectory) -> tuple[str, ...]:
        """Return the special tokens that no text of a trajectory may hold: all but those that it keeps.

        Raises:
            DataError: If it keeps a token that the backbone lacks, or that structures a conversation or an image.
        """
        if not shown.keep:
            return self.special_tokens
        processor = self._serializer.processor
        tokenizer, video = processor.tokenizer, getattr(processor, "video_token", None)
        named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, video)
        written = (template_tokens(processor), *(image.text for image in self.images), *filter(None, named))
        for token in shown.keep:
            if token not in self._serializer.added_tokens:
                reason = "which this backbone lacks; declare it as an added token, or take a backbone that has it"
            elif token in self.special_tokens and any(token in text for text in written):
                reason = "which structures conversations or images; only tokens such as a box's can be kept"
            else:
                continue
            raise DataError(f"Trajectory {shown.id!r} keeps {token!r}, {reason}.", "special token")
        return tuple(token for token in self.special_tokens if token not in shown.keep)
