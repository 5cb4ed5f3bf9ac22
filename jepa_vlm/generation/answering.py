"""How a trained model answers: ``Plain``, ``Latents`` or ``Tools``.

A recipe holds one of them, every checkpoint and export records it, and evaluation and lmms-eval run it. A new way is a
subclass of ``Answering`` that is filed in ``ANSWERINGS``. Listing recipes imports this module, so it imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, final

from jepa_vlm.registry import Registry

if TYPE_CHECKING:
    from jepa_vlm.adapters import Backbone
    from jepa_vlm.generation.greedy import Askable
    from jepa_vlm.generation.letters import LetterAnswer, Scoring
    from jepa_vlm.generation.option_letters import LetterBatch
    from jepa_vlm.terms import Objective

ENTRIES, LEAVES, CONTROLS = ("forced", "model"), ("count", "end"), ("none", "noise", "dropped")


class Answering(ABC):
    """One way of answering. What a subclass does not override is as for plain generation."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which checkpoints and exports record it."""

    @abstractmethod
    def texts(self, backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        """Return the answers to a batch of open questions, in their order.

        Args:
            backbone: Its modes are restored.
            items: Asked together.
            max_new_tokens: Most tokens of an answer. Tool calls are turns of their own, with limits of their own.
        """

    def letters(self, batch: LetterBatch) -> dict[Scoring, list[LetterAnswer]]:
        """Return the answers to a batch of multiple-choice items by scoring, tools left out."""
        from jepa_vlm.generation.option_letters import plain_letters

        return plain_letters(batch, Plain())

    def scoring(self, default: Scoring) -> Scoring:
        """Return the scoring under which the model is measured when none is named."""
        return default

    def check(self, backbone: Backbone) -> None:  # noqa: B027
        """Check, before training, that a backbone can answer in this way.

        Raises:
            BackboneError: If it cannot.
        """

    def for_objective(self, objective: Objective) -> Answering:
        """Return the same for a model that an objective trains.

        Raises:
            ValueError: If such a model cannot answer in this way.
        """
        return self

    def with_latents(self, **changes: Any) -> Latents | None:
        """Return the same with other fields of ``Latents``, or None if it takes no latent steps."""
        return None

    @property
    def untrained(self) -> Answering:
        """How the model answers before training."""
        return Plain()

    @property
    def stock(self) -> bool:
        """Whether a plain ``generate`` of any program gives these answers."""
        return False

    @property
    def room(self) -> int:
        """Most tokens that an answer takes ahead of its words."""
        return 0

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        """Special tokens that the model writes ahead of its words; they are counted."""
        return ()

    @property
    def latents(self) -> str:
        """The latent steps in words, as a protocol records them; "" without any."""
        return ""

    @property
    def forced(self) -> bool:
        """Whether every answer begins with latent steps."""
        return False

    @property
    def head(self) -> Mapping[str, Any] | None:
        """The head that latent steps pass through, as ``predictors.saved`` describes it."""
        return None

    def record(self) -> dict[str, object]:
        """Return it as JSON values, as checkpoints and exports hold them; ``read_answering`` reads them."""
        return {"inference": self.name}


@final
@dataclass(frozen=True)
class Plain(Answering):
    """Greedy generation by the base's own ``generate``.

    Args:
        prefix: The response prefix: what the trained model writes ahead of each answer, such as CoVT's expert tokens.
            Nothing makes the model write it. Evaluation raises the limit of new tokens by ``room``, reads the letter
            from what the model wrote, and counts in how many answers the prefix is there.
        tokens: The special tokens in the prefix, each once.

    Raises:
        ValueError: If a prefix has no token, or a token does not stand in it.
    """

    prefix: str = ""
    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [token for token in self.tokens if token not in self.prefix]
        if isinstance(self.tokens, str) or bool(self.prefix) != bool(self.tokens) or missing:
            raise ValueError(
                f"A response prefix needs tokens that stand in its text {self.prefix!r}, got {self.tokens!r}."
            )

    @property
    def name(self) -> str:
        """The name in records."""
        return "plain"

    def texts(self, backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        """Generate greedily after the chat template's prompt, as any code that does not know this library would."""
        from jepa_vlm.generation.greedy import generate, inference, prompt_inputs, question_turn

        turns = [[question_turn(item)] for item in items]
        with inference(backbone.model), backbone.precision():
            produced = generate(backbone, prompt_inputs(backbone, turns), max_new_tokens)
        return [backbone.tokenizer.decode(ids, skip_special_tokens=True) for ids in produced]

    def letters(self, batch: LetterBatch) -> dict[Scoring, list[LetterAnswer]]:
        """Answer a batch by plain generation."""
        from jepa_vlm.generation.option_letters import plain_letters

        return plain_letters(batch, self)

    def scoring(self, default: Scoring) -> Scoring:
        """Return ``free`` where the letter comes behind a response prefix."""
        return "free" if self.prefix else default

    @property
    def untrained(self) -> Answering:
        """The same: the prefix is looked for before training too."""
        return self

    @property
    def stock(self) -> bool:
        """Any program that generates gives these answers."""
        return True

    @property
    def room(self) -> int:
        """Most tokens of the prefix, whatever the tokenizer: words count by their bytes."""
        words = self.prefix
        for token in self.tokens:
            words = words.replace(token, "")
        return sum(self.counts.values()) + len(words.encode())

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        """Special tokens of the prefix."""
        return self.tokens

    @property
    def counts(self) -> dict[str, int]:
        """How often each token stands in the prefix."""
        return {token: self.prefix.count(token) for token in self.tokens}

    def record(self) -> dict[str, object]:
        """Return the name, and the prefix under the key that files have had from the first."""
        held = {"text": self.prefix, "tokens": list(self.tokens)}
        return {**super().record(), **({"opening": held} if self.prefix else {})}


@final
@dataclass(frozen=True, kw_only=True)
class Latents(Answering):
    """Latent feedback: behind START the last state is fed as the next input, some times over; then come END and words.

    Args:
        steps: States that are fed back in each latent segment; 0 is plain generation.
        start, end: START and END, as in the view that training used.
        after: Words that END brings along, likewise.
        leave: When a latent segment ends: after ``steps`` (``count``), or as soon as END is the likeliest token, at the
            latest then (``end``). LVR's code leaves what follows the last step to the model; here END always does.
        entry: ``forced``: every answer begins with a latent segment. ``model``: one begins when the model writes START;
            a model that never does answers directly. Either way a later START begins another one.
        control: What is fed in the states' place: ``none`` (themselves), ``noise`` (Gaussian vectors of their length),
            or nothing at all (``dropped``: END follows START).
        seed: Random seed for the noise.
        head: What a state passes through before it is fed, as ``predictors.saved`` describes it; None feeds the state
            itself. A recipe sets it to the head of its objective's reconstruction: what is fed is what the loss
            compared.

    Raises:
        ValueError: If a value is out of its range.
    """

    steps: int = 8
    start: str = "<|latent_start|>"
    end: str = "<|latent_end|>"
    after: str = "\n"
    leave: Literal["count", "end"] = "count"
    entry: Literal["forced", "model"] = "forced"
    control: Literal["none", "noise", "dropped"] = "none"
    seed: int = 0
    head: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 0:
            raise ValueError(f"steps must be a whole number of at least 0, got {self.steps!r}.")
        for name, known in (("entry", ENTRIES), ("leave", LEAVES), ("control", CONTROLS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")

    @property
    def name(self) -> str:
        """The name in records."""
        return "latents"

    def texts(self, backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        """Generate with latent feedback and return the words."""
        from jepa_vlm.generation.greedy import inference, prompt_inputs, question_turn
        from jepa_vlm.generation.latent_feedback import generate_latent

        turns = [[question_turn(item)] for item in items]
        with inference(backbone.model), backbone.precision():
            found = generate_latent(backbone, prompt_inputs(backbone, turns), max_new_tokens, self)
        return [backbone.tokenizer.decode(one.ids, skip_special_tokens=True) for one in found]

    def letters(self, batch: LetterBatch) -> dict[Scoring, list[LetterAnswer]]:
        """Answer a batch with latent feedback between the prompt and the answer."""
        from jepa_vlm.generation.option_letters import latent_letters

        return latent_letters(batch, self) if self.steps else super().letters(batch)

    def check(self, backbone: Backbone) -> None:
        """Check that START and END are single tokens of the backbone's vocabulary."""
        from jepa_vlm.generation.latent_feedback import marks

        marks(backbone, self)

    def for_objective(self, objective: Objective) -> Answering:
        """Return the same with the objective's head; see ``fed_head``."""
        from jepa_vlm.generation.fed_head import fed_head

        return replace(self, head=fed_head(objective, self))

    def with_latents(self, **changes: Any) -> Latents | None:
        """Return the same with other values."""
        return replace(self, **changes)

    @property
    def latents(self) -> str:
        """The latent steps in words."""
        return str(self) if self.steps else ""

    @property
    def forced(self) -> bool:
        """Whether every answer begins with latent steps."""
        return self.entry == "forced"

    def record(self) -> dict[str, object]:
        """Return the name and all fields."""
        return {**super().record(), "decoding": asdict(self)}

    def __str__(self) -> str:
        """Return the words that a protocol records."""
        many = (
            f"{self.steps} latent steps" if self.leave == "count" else f"latent steps until END, at most {self.steps}"
        )
        through = "" if self.head is None else f", through {self.head['kind']}"
        return f"{many}, entry {self.entry}{through}" + ("" if self.control == "none" else f", control {self.control}")


@final
@dataclass(frozen=True)
class Tools(Answering):
    """Image tools that the model may call; its last turn is the answer.

    Args:
        name: Whose words offer the tools: ``tools``, those of this library's training data, or ``pixel-reasoner``,
            those of the released PixelReasoner.

    Raises:
        ValueError: If there is no such name.
    """

    name: str = "tools"

    def __post_init__(self) -> None:
        if self.name not in ("tools", "pixel-reasoner"):
            raise ValueError(f"name must be tools or pixel-reasoner, got {self.name!r}.")

    def texts(self, backbone: Backbone, items: Sequence[Askable], *, max_new_tokens: int) -> list[str]:
        """Run the tool loop and return the last turns."""
        from jepa_vlm.generation.tool_loop import PIXEL_REASONER, TRAINED_TOOLS, answer_with_tools

        loop = TRAINED_TOOLS if self.name == "tools" else PIXEL_REASONER
        return [one.text for one in answer_with_tools(backbone, items, loop, batch_size=len(items))]

    def scoring(self, default: Scoring) -> Scoring:
        """Return ``tools``; the released PixelReasoner is measured as its own protocol says."""
        return "tools" if self.name == "tools" else default


ANSWERINGS: Registry[Answering] = Registry(
    "way of answering", hint="A new one is a subclass of Answering that is filed in jepa_vlm.generation.answering."
)
ANSWERINGS.register("plain")(Plain())
ANSWERINGS.register("latents")(Latents())
ANSWERINGS.register("tools")(Tools())
ANSWERINGS.register("pixel-reasoner")(Tools("pixel-reasoner"))


def read_answering(held: Mapping[str, Any]) -> Answering:
    """Return what ``Answering.record`` wrote.

    Raises:
        UnknownNameError: If there is no such way of answering.
        KeyError, TypeError, ValueError: If the values do not fit it.
    """
    name = held["inference"]
    if not isinstance(name, str):
        raise TypeError(f"inference must be a name, got {name!r}.")
    if latents := held.get("decoding"):
        return Latents(**latents)
    if prefix := held.get("opening"):
        return Plain(prefix=prefix["text"], tokens=tuple(prefix["tokens"]))
    return ANSWERINGS[name]


def under_one_limit(models: Sequence[Answering]) -> list[Answering]:
    """Return how models are asked that are compared: all plain answers have the room of the first response prefix."""
    longest = next((one for one in models if one.room), None)
    return [one if longest is None or one.latents else longest for one in models]
