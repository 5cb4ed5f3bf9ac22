"""How a trained model answers: the one seam between a recipe's inference and whatever asks the model.

A recipe names its way (``Recipe.inference``), every checkpoint of the run carries the name, and its export too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.asked import Askable
from jepa_vlm.generation.greedy import generate
from jepa_vlm.generation.inference import inference
from jepa_vlm.generation.latent_feedback import generate_latent
from jepa_vlm.generation.pixel_reasoner import PIXEL_REASONER
from jepa_vlm.generation.prompt import prompt_inputs, user_turn
from jepa_vlm.generation.tool_loop import ToolLoop, answer_with_tools
from jepa_vlm.generation.tools import IMAGE_TOOLS
from jepa_vlm.recipe import LatentDecoding
from jepa_vlm.recipe.recipe import LATENTS, PLAIN
from jepa_vlm.registry import Registry


class Answer(Protocol):
    """Asks a model a batch of questions."""

    def __call__(self, backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        """Return what the model answers, in the items' order.

        Args:
            backbone: Its modes are restored.
            items: Asked together.
            max_new_tokens: Most tokens of an answer. A way with turns of its own, such as tool calls, keeps its own
                limits.
        """


ANSWERS: Registry[Answer] = Registry(
    "way of answering", hint="A new one is a function that jepa_vlm.generation.answering files in ANSWERS."
)
TRAINED_TOOLS = ToolLoop(tools={name: IMAGE_TOOLS[name] for name in IMAGE_TOOLS})


@ANSWERS.register(PLAIN)
def plain(backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
    """Generate greedily after the chat template's prompt: as any code that knows nothing of this library would."""
    turns = [[user_turn(item.prompt, [image.load() for image in item.images])] for item in items]
    with inference(backbone.model), backbone.precision():
        produced = generate(backbone, prompt_inputs(backbone, turns), max_new_tokens)
    return [backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in produced]


def latents_by(decoding: LatentDecoding) -> Answer:
    """Return the way that generates with latent feedback, as a decoding says, and answers with the words."""

    def answer(backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        turns = [[user_turn(item.prompt, [image.load() for image in item.images])] for item in items]
        with inference(backbone.model), backbone.precision():
            found = generate_latent(backbone, prompt_inputs(backbone, turns), max_new_tokens, decoding)
        return [backbone.tokenizer.decode(one.ids, skip_special_tokens=True) for one in found]

    return answer


ANSWERS.register(LATENTS)(latents_by(LatentDecoding()))


@ANSWERS.register("tools")
def tools(backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
    """Let the model call image tools in the words of this library's training data, and return its last turn."""
    return [one.text for one in answer_with_tools(backbone, items, TRAINED_TOOLS, batch_size=len(items))]


@ANSWERS.register("pixel-reasoner")
def pixel_reasoner(backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
    """Let the model call tools in the words of the released PixelReasoner, and return its last turn."""
    return [one.text for one in answer_with_tools(backbone, items, PIXEL_REASONER, batch_size=len(items))]
