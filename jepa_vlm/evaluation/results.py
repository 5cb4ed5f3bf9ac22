"""What an evaluation found, item by item, its file, and the comparison of two."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.protocol import Protocol
from jepa_vlm.evaluation.statistics import McNemar, mcnemar_exact, wilson_interval
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.whole_files import write_whole

FORMAT = "jepa-vlm-evaluation-1"


@final
@dataclass(frozen=True)
class MarkedAnswer:
    """One item, answered.

    Args:
        id, task: Id and task of the item.
        truth: The right letter.
        predicted: The letter that was read, or None.
        correct: Whether the two agree; an answer that could not be read is wrong.
        text: The text that the model wrote.
        parse_failed: Whether no letter could be read.
    """

    id: str
    task: str
    truth: str
    predicted: str | None
    correct: bool
    text: str
    parse_failed: bool


@final
@dataclass(frozen=True)
class Accuracy:
    """A share of correct answers.

    Args:
        value: The share.
        correct, n: Correct answers, and all answers.
        low, high: Wilson's 95% interval.
        chance: Expected share of a guess: the mean of 1 / number of options.
    """

    value: float
    correct: int
    n: int
    low: float
    high: float
    chance: float


@final
@dataclass(frozen=True)
class Scored:
    """All items under one protocol.

    Args:
        protocol: How the items were asked and read.
        answers: The answers, in the items' order.
        overall: Accuracy over all items.
        tasks: Accuracy of each task.
        parse_failure_rate: Share of answers without a letter.
        groups: Accuracy over the groups of items that count together, such as pairs; None without groups.
        tool_use: Sums of calls, failures and tokens, and conversations that a limit ended; None without tools.
        latent_use: Answers with latent steps, and latent steps in all; None without latent feedback.
        opening_use: Answers with the whole response prefix, each of its tokens as often as it should be, and those with
            one of them at least; None without a prefix, and where nothing is generated.
    """

    protocol: Protocol
    answers: tuple[MarkedAnswer, ...]
    overall: Accuracy
    tasks: Mapping[str, Accuracy]
    parse_failure_rate: float
    groups: Accuracy | None = None
    tool_use: Mapping[str, int] | None = None
    latent_use: Mapping[str, int] | None = None
    opening_use: Mapping[str, int] | None = None

    def summary(self) -> dict[str, Any]:
        """Return the numbers without the answers, as JSON values."""
        return {
            "overall": asdict(self.overall),
            "tasks": {task: asdict(accuracy) for task, accuracy in self.tasks.items()},
            "parse_failure_rate": self.parse_failure_rate,
            **({} if self.groups is None else {"groups": asdict(self.groups)}),
            **({} if self.tool_use is None else {"tool_use": dict(self.tool_use)}),
            **({} if self.latent_use is None else {"latent_use": dict(self.latent_use)}),
            **({} if self.opening_use is None else {"opening_use": dict(self.opening_use)}),
        }


@final
@dataclass(frozen=True)
class Evaluation:
    """One model on one set of items, under one or several scorings.

    Args:
        benchmark: Spec of the benchmark: ``"playground:visual-search"``.
        backbone: Name of the model.
        seed: Random seed of the items.
        scored: One entry per scoring.
        versions: Versions of the software.
        commit: Commit of the checkout, or None.
        published: Number of items of each task as published; {} for a benchmark that is made on demand.
        notes: Remarks on the way in which the model was asked.
    """

    benchmark: str
    backbone: str
    seed: int | None
    scored: tuple[Scored, ...]
    versions: Mapping[str, str]
    commit: str | None
    published: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def scorings(self) -> tuple[str, ...]:
        """The scorings, in order; the first one is the headline."""
        return tuple(one.protocol.scoring for one in self.scored)

    def __getitem__(self, scoring: str) -> Scored:
        for one in self.scored:
            if one.protocol.scoring == scoring:
                return one
        raise DataError(f"This evaluation has no scoring {scoring!r}; it has {', '.join(self.scorings)}.")

    def summary(self) -> dict[str, Any]:
        """Return accuracy by scoring without the answers, as JSON values."""
        return {one.protocol.scoring: one.summary() for one in self.scored}

    def to_json(self, path: Path) -> None:
        """Write a file, whole or not at all."""
        write_whole(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def from_json(cls, path: Path) -> Evaluation:
        """Read a file that ``to_json`` wrote.

        Raises:
            DataError: If the file is missing or is not such a file.
        """
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held.pop("format") != FORMAT:
                raise KeyError("format")
            scored = tuple(_scored(one) for one in held.pop("scored"))
            return cls(scored=scored, **{**held, "notes": tuple(held.get("notes", ()))})
        except FileNotFoundError:
            raise DataError(f"Evaluation {path} does not exist; run `jepa-vlm evaluate` first.") from None
        except OSError as err:
            raise DataError(f"Evaluation {path} cannot be read ({err.strerror}); give the file.") from None
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise DataError(f"{path} is not an evaluation of format {FORMAT} ({err!r}); evaluate again.") from None


def _scored(held: Mapping[str, Any]) -> Scored:
    answers: Sequence[Mapping[str, Any]] = held["answers"]
    return Scored(
        protocol=Protocol(**held["protocol"]),
        answers=tuple(MarkedAnswer(**answer) for answer in answers),
        overall=Accuracy(**held["overall"]),
        tasks={task: Accuracy(**accuracy) for task, accuracy in held["tasks"].items()},
        parse_failure_rate=held["parse_failure_rate"],
        groups=Accuracy(**held["groups"]) if held.get("groups") else None,
        tool_use=held.get("tool_use"),
        latent_use=held.get("latent_use"),
        opening_use=held.get("opening_use"),
    )


def accuracy(items: Sequence[MultipleChoice], answers: Sequence[MarkedAnswer], task: str | None = None) -> Accuracy:
    """Return the share of right answers, of one task or of all."""
    pairs = [(item, answer) for item, answer in zip(items, answers, strict=True) if task is None or item.task == task]
    chances = [1 / len(item.options) for item, _ in pairs]
    return _share([answer.correct for _, answer in pairs], chances)


def accuracy_of_groups(items: Sequence[MultipleChoice], answers: Sequence[MarkedAnswer]) -> Accuracy | None:
    """Return the share of groups with every answer right; None where no two items form one.

    A group of which only one item is here says nothing about a pair, so it does not count.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    chances: dict[str, float] = defaultdict(lambda: 1.0)
    for item, answer in zip(items, answers, strict=True):
        if item.group:
            right[item.group].append(answer.correct)
            chances[item.group] /= len(item.options)
    whole = [group for group, marks in right.items() if len(marks) > 1]
    if not whole:
        return None
    return _share([all(right[group]) for group in whole], [chances[group] for group in whole])


def _share(marks: Sequence[bool], chances: Sequence[float]) -> Accuracy:
    correct, n = sum(marks), len(marks)
    low, high = wilson_interval(correct, n)
    return Accuracy(value=correct / n, correct=correct, n=n, low=low, high=high, chance=sum(chances) / n)


@final
@dataclass(frozen=True)
class Comparison:
    """Two evaluations, item by item.

    Args:
        scoring: The scoring that is compared.
        first, second: Accuracies.
        test: Exact McNemar test; its ``a`` is the first evaluation.
    """

    scoring: str
    first: float
    second: float
    test: McNemar


def compare(first: Evaluation, second: Evaluation, *, scoring: str | None = None) -> Comparison:
    """Compare two evaluations on the same items by the exact McNemar test.

    Args:
        first, second: The evaluations.
        scoring: The scoring to compare; None takes the first evaluation's headline.

    Raises:
        DataError: If the items or the protocols differ, or a scoring is missing.
    """
    scoring = scoring or first.scorings[0]
    one, other = first[scoring], second[scoring]
    a, b = paired_marks(one, other)
    if one.protocol != other.protocol:
        raise DataError(f"The protocols differ: {one.protocol} and {other.protocol}; evaluate both under the same one.")
    return Comparison(scoring=scoring, first=sum(a) / len(a), second=sum(b) / len(b), test=mcnemar_exact(a, b))


def paired_marks(one: Scored, other: Scored) -> tuple[list[bool], list[bool]]:
    """Return for each evaluation whether each item was answered right, in the first one's order.

    Raises:
        DataError: If the items differ.
    """
    mine = {answer.id: answer for answer in one.answers}
    theirs = {answer.id: answer for answer in other.answers}
    if mine.keys() != theirs.keys():
        alone = sorted(mine.keys() ^ theirs.keys())
        raise DataError(
            f"Two evaluations can be compared on the same items only; {len(alone)} ids are in one of them alone, "
            f"such as {alone[0]!r}. Evaluate both with the same benchmark, count and seed."
        )
    changed = [id for id in mine if mine[id].truth != theirs[id].truth]
    if changed:
        raise DataError(f"Item {changed[0]!r} has two different right answers; the items are not the same ones.")
    return [mine[id].correct for id in mine], [theirs[id].correct for id in mine]
