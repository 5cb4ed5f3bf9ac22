"""Let a model call tools while it answers: PixelReasoner's inference (TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a).

A turn that ends with a call gets the tool's picture, or the error as text, back as a user turn; then the model goes on.
Every prompt is rendered anew from the turns so far, so that a conversation reads as it would in training. A call is
read as JSON, and never run as code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import Turn
from jepa_vlm.errors import BackboneError
from jepa_vlm.generation.greedy import (
    Askable,
    Inputs,
    end_ids,
    generate,
    inference,
    prompt_inputs,
    system_turn,
    user_turn,
)
from jepa_vlm.generation.image_tools import IMAGE_TOOLS, ImageTool, ToolError, ToolFunction

OPEN, CLOSE = "<tool_call>", "</tool_call>"
Stop = Literal["answered", "calls", "images", "tokens"]
Produce = Callable[[Backbone, Inputs, int], Tensor]  # from prompts and a limit, the tokens that follow


@final
@dataclass(frozen=True)
class ToolUse:
    """Counts of one conversation.

    Args:
        calls: Tool calls that were run.
        failures: Calls that gave an error.
        tokens: Tokens generated in all turns.
        stopped: Why the conversation ended: the model ``answered``, or which limit was met.
    """

    calls: int
    failures: int
    tokens: int
    stopped: Stop


@final
@dataclass(frozen=True, kw_only=True)
class ToolLoop:
    """How tools are offered, and when the loop ends.

    Args:
        tools: By name, which a model may call.
        max_calls: Calls that are run; a turn that asks for one more is the last.
        max_images: Most images of a conversation, its own included.
        max_new_tokens: Most new tokens of each turn.
        max_tokens: Tokens of a whole conversation above which no tool is run.
        system: The system turn; "" for the chat template's own.
        guidelines: Appended to the question.
        observation: Text beside a returned picture; ``{width}`` and ``{height}`` are the picture's.
        image_first: Whether the picture stands before the observation, as in the library's own training data.
        crop_tokens: Least and most visual tokens to which a returned picture is scaled; None leaves it as it is.

    Raises:
        ValueError: If a limit is out of range.
    """

    tools: Mapping[str, ToolFunction]
    max_calls: int = 3
    max_images: int = 16
    max_new_tokens: int = 512
    max_tokens: int = 12 * 1024 - 200
    system: str = ""
    guidelines: str = ""
    observation: str = ""
    image_first: bool = True
    crop_tokens: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("max_calls", "max_images", "max_new_tokens", "max_tokens"):
            if getattr(self, name) < (name != "max_calls"):
                raise ValueError(f"{name} is out of range, got {getattr(self, name)}.")


TRAINED_TOOLS = ToolLoop(tools={name: IMAGE_TOOLS[name] for name in IMAGE_TOOLS})


@final
@dataclass(frozen=True)
class ToolAnswer:
    """A model's answer with tools.

    Args:
        id: The item's.
        text: The model's last turn.
        turns: All turns of the model.
        use: Counts, and why the conversation ended.
    """

    id: str
    text: str
    turns: tuple[str, ...]
    use: ToolUse


class Call(NamedTuple):
    """A call as the model wrote it."""

    name: str
    arguments: Mapping[str, object]


def ends_with_call(text: str) -> bool:
    """Say whether a turn ends by calling a tool; only then does its writer wait for one."""
    return text.rstrip().endswith(CLOSE)


def last_call(text: str) -> Call:
    """Return the last call of a turn that ends with one.

    Raises:
        ToolError: If it is no JSON object with a name and arguments.
    """
    written = text.rstrip().removesuffix(CLOSE).rpartition(OPEN)[2]
    try:
        call = json.loads(written)
    except (ValueError, RecursionError) as err:
        shown = err.msg if isinstance(err, json.JSONDecodeError) else "unreadable"
        raise ToolError(f"The tool call is not valid JSON ({shown}).") from None
    name = call.get("name") if isinstance(call, dict) else None
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ToolError('A tool call must be {"name": <function-name>, "arguments": <args-json-object>}.')
    return Call(name, arguments)


@final
class ToolConversation:
    """The turns of one conversation so far, its images, and its counts.

    Args:
        item: The question; its images are decoded once.
        system: The system turn, or "".
        guidelines: Appended to the question.
        reserved: Special tokens; they are removed from every text that a model had a part in.
    """

    def __init__(self, item: Askable, *, system: str, guidelines: str, reserved: Sequence[str]) -> None:
        self.id = item.id
        self.images = [image.load() for image in item.images]
        asked = user_turn(item.prompt + guidelines, self.images)
        self.turns: list[Turn] = [asked]
        if system:
            self.turns.insert(0, system_turn(system))
        self.spoken: list[str] = []
        self.calls = self.failures = self.tokens = 0
        self._reserved = reserved

    def say(self, text: str) -> None:
        """Add the model's turn."""
        self.spoken.append(self._harmless(text))
        self.turns.append({"role": "assistant", "content": [{"type": "text", "text": self.spoken[-1]}]})

    def observe(self, text: str, picture: Image.Image | None = None, *, image_first: bool = True) -> None:
        """Add the user turn that answers a call: words, a picture, or both."""
        content: list[dict[str, object]] = [{"type": "text", "text": self._harmless(text)}] if text else []
        if picture is not None:
            self.images.append(picture)
            content.insert(0 if image_first else len(content), {"type": "image", "image": picture})
        self.turns.append({"role": "user", "content": content})

    def _harmless(self, text: str) -> str:
        """Return the text without special tokens: spelled out, they would be read as structure in the next prompt."""
        found = True
        while found:
            found = False
            for token in self._reserved:
                if token in text:
                    text, found = text.replace(token, ""), True
        return text


def tool_system(tools: Sequence[ImageTool], opening: str = "You are a helpful assistant.") -> str:
    """Return the system turn that offers tools, as Qwen's agent template writes it."""
    signatures = "\n".join(json.dumps(tool.signature()) for tool in tools)
    return (
        f"{opening}\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{signatures}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        "<tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


# The released PixelReasoner's words (Wang et al., arXiv:2505.15966; experience_maker.py). Different here: at most three
# calls are run (its code runs a fourth), [0, 0, 1, 1] is the whole image (its code takes any box with an edge of 1 for
# pixels), and boxes that are no boxes are refused in words instead of by Python's assertions.
GUIDELINES = (
    "\n\nGuidelines: Understand the given visual information and the user query. "
    "Determine if it is beneficial to employ the given visual operations (tools). "
    "For a video, we can look closer by `select_frames`. For an image, we can look closer by `crop_image`. "
    "Reason with the visual information step by step, and put your final answer within \\boxed{}."
)
_OFFERED = ("crop_image_normalized", "select_frames")
PIXEL_REASONER = ToolLoop(
    tools={name: IMAGE_TOOLS[name] for name in ("crop_image", *_OFFERED)},
    system=tool_system([IMAGE_TOOLS[name] for name in _OFFERED]),
    guidelines=GUIDELINES,
    observation="\nHere is the cropped image (Image Size: {width}x{height}):",
    image_first=False,
    crop_tokens=(256, 5120),
)


def answer_with_tools(
    backbone: Backbone,
    items: Sequence[Askable],
    loop: ToolLoop,
    *,
    batch_size: int = 16,
    produce: Produce = generate,
) -> list[ToolAnswer]:
    """Ask every item and return the answers in the items' order; the conversations of a batch go on side by side.

    Args:
        backbone: The model; its modes are restored.
        items: The questions.
        loop: Tools and limits.
        batch_size: ToolConversations per forward.
        produce: Function that writes the next turn of each conversation that goes on, in the items' order.

    Raises:
        ValueError: If ``batch_size`` is below 1.
        BackboneError: If pictures are to be scaled by visual tokens, which the family's image processor does not cut
            by patches.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if loop.crop_tokens is not None and _token_side(backbone) is None:
        kind = backbone.adapter.config.model_type
        raise BackboneError(
            f"Returned pictures are to take {loop.crop_tokens[0]} to {loop.crop_tokens[1]} tokens, which can be kept "
            f"where a token is a square of patches (Qwen's families and GLM's), not in {kind!r}; use crop_tokens=None."
        )
    answers: list[ToolAnswer] = []
    with inference(backbone.model), backbone.precision():
        for start in range(0, len(items), batch_size):
            answers += _batch(backbone, items[start : start + batch_size], loop, produce)
    return answers


def _batch(backbone: Backbone, items: Sequence[Askable], loop: ToolLoop, produce: Produce) -> list[ToolAnswer]:
    reserved = [token.content for token in backbone.tokenizer.added_tokens_decoder.values() if token.special]
    held = [ToolConversation(item, system=loop.system, guidelines=loop.guidelines, reserved=reserved) for item in items]
    stops: dict[int, Stop] = {}
    while running := [i for i in range(len(held)) if i not in stops]:
        inputs = prompt_inputs(backbone, [held[i].turns for i in running])
        produced = produce(backbone, inputs, loop.max_new_tokens)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        for i, ids, prompt in zip(running, produced.tolist(), lengths, strict=True):
            stop = _step(backbone, held[i], ids, prompt, loop)
            if stop is not None:
                stops[i] = stop
    return [
        ToolAnswer(one.id, one.spoken[-1], tuple(one.spoken), ToolUse(one.calls, one.failures, one.tokens, stops[i]))
        for i, one in enumerate(held)
    ]


def _step(backbone: Backbone, held: ToolConversation, ids: list[int], prompt: int, loop: ToolLoop) -> Stop | None:
    """Take in one generated turn, run the tool that it calls, and say why the conversation ends, if it does."""
    ends = set(end_ids(backbone))
    length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    held.tokens += min(length + 1, len(ids))
    held.say(backbone.tokenizer.decode(ids[:length], skip_special_tokens=False))
    if not ends_with_call(held.spoken[-1]):
        return "answered"
    if held.calls >= loop.max_calls:
        return "calls"
    if len(held.images) >= loop.max_images:
        return "images"
    if prompt + length > loop.max_tokens:
        return "tokens"
    held.calls += 1
    try:
        picture = _shown(_run(held, loop), backbone, loop)
    except Exception as err:  # a tool may raise anything on arguments that a model wrote
        held.failures += 1
        held.observe(f"\nExecution error:\n{str(err) if isinstance(err, ToolError) else _named(err)}\n")
        return None
    width, height = picture.size
    held.observe(loop.observation.format(width=width, height=height), picture, image_first=loop.image_first)
    return None


def _run(held: ToolConversation, loop: ToolLoop) -> Image.Image:
    call = last_call(held.spoken[-1])
    if call.name not in loop.tools:
        raise ToolError(f"There is no tool `{call.name[:60]}`; there are {', '.join(loop.tools)}.")
    which = call.arguments.get("target_image", 1)
    if not isinstance(which, int) or isinstance(which, bool) or not 1 <= which <= len(held.images):
        raise ToolError(
            f"Execution Error: Incorrect `target_image` argument in `{call.name}` operation. "
            f"You can only pick an image within [1,{len(held.images)}]"
        )
    return loop.tools[call.name](held.images[which - 1], call.arguments)


def _shown(picture: Image.Image, backbone: Backbone, loop: ToolLoop) -> Image.Image:
    """Return the picture in the size in which it is shown, and cropped from later on; raise on an impossible shape."""
    backbone.adapter.image_tokens(backbone.processor, *picture.size)
    side = _token_side(backbone)
    if loop.crop_tokens is None or side is None:
        return picture
    low, high = (tokens * side * side for tokens in loop.crop_tokens)
    height, width = smart_resize(picture.height, picture.width, factor=side, min_pixels=low, max_pixels=high)
    return picture.resize((width, height))


def _token_side(backbone: Backbone) -> int | None:
    """Return the pixels on a side of a visual token, or None where tokens are made otherwise."""
    processor = backbone.processor.image_processor
    patch, merge = getattr(processor, "patch_size", None), getattr(processor, "merge_size", None)
    return patch * merge if isinstance(patch, int) and isinstance(merge, int) else None


def _named(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"
