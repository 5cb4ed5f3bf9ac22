"""What an evaluation found, item by item, and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.evaluation.protocol import Protocol
from jepa_vlm.whole_files import write_whole

FORMAT = "jepa-vlm-evaluation-1"


@final
@dataclass(frozen=True)
class Answer:
    """One item, answered.

    Args:
        id, task: The item's.
        truth: The right letter.
        predicted: The letter that was read, or None.
        correct: Whether they agree; an answer that could not be read is wrong.
        text: What the model wrote.
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
        correct, n: Its counts.
        low, high: Wilson's 95% interval.
        chance: What guessing gets: the mean of 1 / number of options.
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
        protocol: How they were asked and read.
        answers: In the items' order.
        overall: Over all items.
        tasks: By task.
        parse_failure_rate: Share of answers without a letter.
        groups: Over the groups of items that count together, such as pairs; None where there are none.
        tool_use: Sums of calls, failures and tokens, and conversations that a limit ended; None without tools.
        latent_use: Answers in which the latent path ran, and latent steps in all; None without latent decoding.
        opening_use: Answers with the whole opening, each of its tokens as often as it should be, and those with one of
            them at least; None without an opening, and where nothing is generated.
    """

    protocol: Protocol
    answers: tuple[Answer, ...]
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
        benchmark: What was asked: ``"playground:visual-search"``.
        backbone: Name of the model.
        seed: Of the items.
        scored: One entry per scoring.
        versions: Of the software.
        commit: Of the checkout, or None.
        published: How many items each task has as published; {} for a benchmark that is made on demand.
        notes: What a reader must know of the way in which the model was asked.
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
        answers=tuple(Answer(**answer) for answer in answers),
        overall=Accuracy(**held["overall"]),
        tasks={task: Accuracy(**accuracy) for task, accuracy in held["tasks"].items()},
        parse_failure_rate=held["parse_failure_rate"],
        groups=Accuracy(**held["groups"]) if held.get("groups") else None,
        tool_use=held.get("tool_use"),
        latent_use=held.get("latent_use"),
        opening_use=held.get("opening_use"),
    )
