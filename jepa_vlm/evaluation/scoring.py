"""Ask a model every item and count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from jepa_vlm.adapters import Backbone
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.evaluation.benchmarks import file_stem, published_sizes
from jepa_vlm.evaluation.protocol import Protocol, pixel_budget, protocol_for
from jepa_vlm.evaluation.protocols import LIBRARY, NamedProtocol
from jepa_vlm.evaluation.provenance import commit, versions, weights_fingerprint
from jepa_vlm.evaluation.results import Evaluation, MarkedAnswer, Scored, accuracy, accuracy_of_groups
from jepa_vlm.evaluation.samples import SampleFiles
from jepa_vlm.generation import LetterAnswer, LetterReader, Scoring, answers_by_scoring
from jepa_vlm.generation.answering import Answering, Plain
from jepa_vlm.generation.letters import COMPARED
from jepa_vlm.generation.option_letters import Answers
from jepa_vlm.generation.tool_loop import TRAINED_TOOLS, ToolLoop, answer_with_tools
from jepa_vlm.playground.tools import TOOLS
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, TOOL_INSTRUCTION
from jepa_vlm.serialization import check_template
from jepa_vlm.trajectories import MultipleChoice

TURN_TOKENS = 128  # most tokens of a turn on the playground: the longest call takes half of them


def evaluate(
    backbone: Backbone,
    items: Sequence[MultipleChoice],
    *,
    scorings: Sequence[Scoring] | None = None,
    protocol: NamedProtocol | None = None,
    benchmark: str = "",
    seed: int | None = None,
    batch_size: int = 16,
    samples: Path | None = None,
    loop: ToolLoop | None = None,
    answering: Answering = Plain(),  # noqa: B008
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Answer every item under every scoring.

    Args:
        backbone: The model as it is now; its modes are restored.
        items: Items with unique ids; under a named protocol, those that ``load_benchmark`` returned for it.
        scorings: ``letter-logits``, ``short``, ``free``, ``tools``; the first one is the headline. None takes the
            protocol's, or ``letter-logits``.
        protocol: Whose rules of reading, decoding and pixels hold; None for the library's own.
        benchmark, seed: Spec and random seed of the items, for the record.
        batch_size: Prompts per forward.
        samples: A folder for one line per item, written batch by batch. Answers that are there already, of the same
            model, items and settings, are kept, so that an interrupted evaluation goes on.
        loop: Tools and limits under ``tools``; None takes the protocol's, or the benchmark's.
        answering: How the model answers, except under ``tools``.
        progress: Called after each batch with its number of items.

    Raises:
        ValueError: If there is no scoring, or one is named twice.
        DataError: If there are no items, two share an id, or a prompt holds a special token of the backbone.
        BackboneError: If letters are compared, and the chat template's prompt is not what training puts ahead of them.
    """
    rules = protocol or LIBRARY
    scorings = (rules.scoring,) if scorings is None else tuple(scorings)
    if not scorings or len(set(scorings)) < len(scorings):
        raise ValueError(f"scorings must name at least one scoring, each once; got {list(scorings)}.")
    _check_items(backbone, items, benchmark)
    notes = template_notes(backbone, scorings)
    loop = loop or rules.loop or default_loop(benchmark)
    records = {
        scoring: protocol_for(backbone.processor, scoring, rules=rules, loop=loop, answering=answering)
        for scoring in scorings
    }
    ask = partial(_ask, backbone, loop=loop, rules=rules, answering=answering)
    with ExitStack() as stack:
        stack.enter_context(pixel_budget(backbone.processor.image_processor, rules.pixels))
        files = None
        if samples is not None:
            asked = {"benchmark": benchmark, "seed": seed, "batch_size": batch_size}
            settings = {**asked, **_recorded(backbone, loop, answering)}
            files = stack.enter_context(SampleFiles(samples, file_stem(benchmark), records, items, settings=settings))
        found = _answers(ask, items, scorings, batch_size, files, progress)
    return Evaluation(
        benchmark=benchmark,
        backbone=backbone.name,
        seed=seed,
        scored=tuple(_scored(items, found[scoring], record, answering) for scoring, record in records.items()),
        versions=versions(),
        commit=commit(),
        published=published_sizes(benchmark.partition(":")[0], items),
        notes=notes,
    )


def _recorded(backbone: Backbone, loop: ToolLoop, answering: Answering) -> dict[str, object]:
    """Return the weights and how the model answers, under the keys of earlier versions, whose answers are kept."""
    held = answering.record()
    return {
        "weights": weights_fingerprint(backbone),
        "loop": {name: value for name, value in vars(loop).items() if name != "tools"},
        "latents": held.get("decoding"),
        "opening": held.get("opening"),
    }


def template_notes(backbone: Backbone, scorings: Sequence[str]) -> tuple[str, ...]:
    """Return remarks on a model whose chat template asks it in another way than training does.

    Raises:
        BackboneError: If the two differ by more than blanks, and letters are to be compared.
    """
    try:
        return check_template(backbone.processor, backbone.adapter, calls=0)
    except BackboneError as err:
        if COMPARED.isdisjoint(scorings):
            return (str(err),)
        raise BackboneError(f"{err} What it writes behind its own prompt can be read by the scoring 'free'.") from None


def _check_items(backbone: Backbone, items: Sequence[MultipleChoice], benchmark: str) -> None:
    if not items:
        raise DataError(f"Benchmark {benchmark!r} has no items, so there is nothing to measure; ask for at least one.")
    twice = [id for id, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise DataError(f"Items need unique ids to be compared across runs; {twice[0]!r} is used more than once.")
    reserved = [token.content for token in backbone.tokenizer.added_tokens_decoder.values() if token.special]
    for item in items:
        if (held := next((token for token in reserved if token in item.prompt), None)) is not None:
            raise DataError(
                f"Item {item.id!r} holds the backbone's special token {held!r}, which would be read as structure; "
                "remove it."
            )


def _answers(
    ask: Callable[[Sequence[MultipleChoice], Sequence[Scoring]], Answers],
    items: Sequence[MultipleChoice],
    scorings: Sequence[Scoring],
    batch_size: int,
    files: SampleFiles | None,
    progress: Callable[[int], object] | None,
) -> Answers:
    """Ask batch by batch. Batches begin where they would without an interruption: padding then is the same, too."""
    found: Answers = {scoring: [] for scoring in scorings}
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        kept = None if files is None else files.kept(start, len(batch))
        asked = kept or ask(batch, scorings)
        if files is not None and kept is None:
            files.write(start, asked)
        for scoring in scorings:
            found[scoring] += asked[scoring]
        if progress is not None:
            progress(len(batch))
    return found


def _ask(
    backbone: Backbone,
    batch: Sequence[MultipleChoice],
    scorings: Sequence[Scoring],
    *,
    loop: ToolLoop,
    rules: NamedProtocol,
    answering: Answering,
) -> Answers:
    asked: Answers = {}
    if of_one_prompt := [scoring for scoring in scorings if scoring != "tools"]:
        asked |= answers_by_scoring(
            backbone,
            batch,
            scorings=of_one_prompt,
            batch_size=len(batch),
            max_new_tokens=rules.max_new_tokens,
            read=rules.read,
            prefix=rules.prefix,
            system=rules.system,
            answering=answering,
        )
    if "tools" in scorings:
        asked["tools"] = letters_with_tools(backbone, batch, loop, read=rules.read)
    return asked


def _scored(
    items: Sequence[MultipleChoice], answers: Sequence[LetterAnswer], protocol: Protocol, answering: Answering
) -> Scored:
    marked = tuple(_mark(item, answer) for item, answer in zip(items, answers, strict=True))
    tasks = sorted({item.task for item in items})
    return Scored(
        protocol=protocol,
        answers=marked,
        overall=accuracy(items, marked),
        tasks={task: accuracy(items, marked, task) for task in tasks},
        parse_failure_rate=sum(answer.parse_failed for answer in marked) / len(marked),
        groups=accuracy_of_groups(items, marked),
        tool_use=total_use(answers),
        latent_use=_latent_use(answers),
        opening_use=_prefix_use(answers, len(answering.prefix_tokens)),
    )


def _latent_use(answers: Sequence[LetterAnswer]) -> dict[str, int] | None:
    steps = [answer.latent_steps for answer in answers if answer.latent_steps is not None]
    return {"answers": sum(taken > 0 for taken in steps), "steps": sum(steps)} if steps else None


def _prefix_use(answers: Sequence[LetterAnswer], tokens: int) -> dict[str, int] | None:
    written = [answer.opened for answer in answers if answer.opened is not None]
    if not written:
        return None
    return {"whole": sum(one == tokens for one in written), "some": sum(one > 0 for one in written)}


def _mark(item: MultipleChoice, answer: LetterAnswer) -> MarkedAnswer:
    truth = item.letters[item.answer]
    return MarkedAnswer(
        id=item.id,
        task=item.task,
        truth=truth,
        predicted=answer.letter,
        correct=answer.letter == truth,
        text=answer.text,
        parse_failed=answer.letter is None,
    )


def default_loop(benchmark: str) -> ToolLoop:
    """Return the loop for models that were trained on this library's trajectories: no system turn, no guidelines.

    On the playground they have called the playground's tools; elsewhere, those of ``generation.image_tools``.
    """
    if benchmark.partition(":")[0] == "playground":
        return ToolLoop(tools={name: TOOLS[name] for name in TOOLS}, max_new_tokens=TURN_TOKENS)
    return TRAINED_TOOLS


def letters_with_tools(
    backbone: Backbone, items: Sequence[MultipleChoice], loop: ToolLoop, *, read: LetterReader
) -> list[LetterAnswer]:
    """Ask a batch with tools and read the letter in every last turn.

    A question of the playground that asks for the letter at once asks, as in training, to look closely first.
    """
    asked = [replace(item, prompt=_looking(item.prompt)) for item in items]
    answers = answer_with_tools(backbone, asked, loop, batch_size=len(asked))
    return [
        LetterAnswer(item.id, read(answer.text, item), answer.text, answer.use)
        for item, answer in zip(items, answers, strict=True)
    ]


def _looking(prompt: str) -> str:
    direct = prompt.removesuffix(DIRECT_INSTRUCTION)
    return prompt if direct == prompt else direct + TOOL_INSTRUCTION


def total_use(answers: Sequence[LetterAnswer]) -> dict[str, int] | None:
    """Return the sums of calls, failures and tokens, and how many conversations a limit ended; None without tools."""
    uses = [answer.use for answer in answers if answer.use is not None]
    if not uses:
        return None
    return {
        "calls": sum(use.calls for use in uses),
        "failures": sum(use.failures for use in uses),
        "tokens": sum(use.tokens for use in uses),
        "ended by a limit": sum(use.stopped != "answered" for use in uses),
    }
