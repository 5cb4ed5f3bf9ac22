"""Records of the step suite: read, merged and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import JepaVLMError

SCHEMA = 1
ONE_RECORD = ("machine", "versions", "commit", "config")  # must agree for cases to stand in one record


def read_record(path: Path) -> dict[str, Any]:
    """Read a record of the step suite.

    Raises:
        JepaVLMError: If the file is not such a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JepaVLMError(f"There is no record {path}; `python -m benchmarks.step` writes one.") from None
    except ValueError as err:
        raise JepaVLMError(f"{path} is not JSON ({err}); give a record of `python -m benchmarks.step`.") from None
    if not isinstance(record, dict) or record.get("suite") != "step" or record.get("schema") != SCHEMA:
        raise JepaVLMError(f"{path} is not a record of `python -m benchmarks.step` in format {SCHEMA}; make it anew.")
    return record


def merge_records(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return one record with the cases of both. Of a case that both have, the new one stays.

    Raises:
        JepaVLMError: If code, settings or machine differ.
    """
    for part in ONE_RECORD:
        if old[part] != new[part]:
            raise JepaVLMError(
                f"Only cases of one machine, one commit and one configuration stand in one record; {part} is "
                f"{new[part]} now and {old[part]} there. Write to another --output."
            )
    merged = {**new, "calls": [*old["calls"], *new["calls"]]}
    for part, key in (("cases", case_key), ("crossover", _row_key)):
        both = {key(one): one for record in (old, new) for one in record[part]}
        merged[part] = list(both.values())
    return merged


def case_key(case: Mapping[str, Any]) -> str:
    """Return a name of a case that is unique in its record."""
    return f"{case['mix']}, checkpointing {'on' if case['checkpointing'] else 'off'}, {case['examples']} examples"


def _row_key(row: Mapping[str, Any]) -> str:
    return f"{row['mix']}, {row['wanted']} tokens"


ERRORS = 3.0  # a time moved if it differs by this many standard errors of the difference
TIME = 0.05  # and by this share of the old time
MEASURE = "sft_stock"  # the step that depends on the machine's speed, but not on the code of this package
PACE, RATIO = "pace", f"time / {MEASURE}"
COUNTED = {"total_flops": 0.002, "total_operations": 0.02, "saved": 0.01, "peak": 0.01}
ALLOCATED = 0.02
SAME = ("shape", "dtype", "lora_rank", "seed", "stock_attention", "deterministic")  # or figures mean different things
SAME_MACHINE = ("kind", "gpu", "cpu", "threads")


@final
@dataclass(frozen=True)
class Movement:
    """One figure that moved. Smaller is better for every figure.

    Args:
        case: Name of the case: mix, checkpointing and examples.
        variant: Name of the step.
        figure: Name of the figure.
        old, new: Its values; infinity for a step that failed.
    """

    case: str
    variant: str
    figure: str
    old: float
    new: float

    @property
    def worse(self) -> bool:
        """Whether it grew."""
        return self.new > self.old

    @property
    def change(self) -> float:
        """How much it grew, as a share of the old value."""
        return self.new / self.old - 1


@final
@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Args:
        movements: The figures that moved.
        compared: Number of figures compared.
        notes: What could not be compared, and why.
    """

    movements: tuple[Movement, ...]
    compared: int
    notes: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Movement, ...]:
        """The figures that became worse."""
        return tuple(movement for movement in self.movements if movement.worse)


def compare_records(new: Mapping[str, Any], old: Mapping[str, Any]) -> Comparison:
    """Compare two records, figure by figure.

    Times are compared as ratios to the stock step's time, round by round, if both records have that step. It runs none
    of this package's code, so it moves with the machine alone; its own movement is a note. Without it, seconds are
    compared. A time moved if its medians differ by more than 3 robust standard errors of the difference and by more
    than 5% of the old one. Counted figures are the same on every run: FLOPs may differ by 0.2%, operations by 2%, bytes
    by 1%. Memory that a GPU's allocator reports may differ by 2%. Times of different machines are not compared.

    Raises:
        JepaVLMError: If the records measure different things, or have nothing in common.
    """
    for name in SAME:
        if new["config"][name] != old["config"][name]:
            raise JepaVLMError(
                f"The records measure different things: {name} is {new['config'][name]!r} now and "
                f"{old['config'][name]!r} before; compare like with like."
            )
    notes, same_machine = _differences(new, old)
    movements, compared = [], 0
    earlier = {case_key(case): case for case in old["cases"]}
    for case in new["cases"]:
        before = earlier.pop(case_key(case), None)
        if before is None:
            notes.append(f"{case_key(case)} was not measured before")
            continue
        for name in sorted(before["variants"].keys() - case["variants"].keys()):
            notes.append(f"{case_key(case)}: {name} was not measured now")
        for name in (one for one in case["variants"] if one in before["variants"]):
            for figure, was, now, moved in _figures(name, before["variants"][name], case["variants"][name]):
                if figure not in ("completion", *COUNTED) and not same_machine:
                    continue
                if figure == PACE:
                    notes += [f"{case_key(case)}: {name} took {now / was:.2f} times as long as before"] * moved
                    continue
                compared += 1
                if moved:
                    movements.append(Movement(case_key(case), name, figure, was, now))
    notes += [f"{key} was not measured now" for key in earlier]
    if not compared:
        raise JepaVLMError("The records have no figure in common; measure the same mixes and variants.")
    movements.sort(key=lambda movement: -abs(movement.change) if math.isfinite(movement.change) else -math.inf)
    return Comparison(tuple(movements), compared, tuple(notes))


def _differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the differences of machine and versions as notes, and whether the machine is the same."""
    notes = []
    machines = [{name: record["machine"].get(name) for name in SAME_MACHINE} for record in (new, old)]
    same_machine = machines[0] == machines[1]
    if not same_machine:
        notes.append(f"times are not compared: measured on {_named(machines[0])}, before on {_named(machines[1])}")
    for name in sorted(new["versions"].keys() & old["versions"].keys()):
        if new["versions"][name] != old["versions"][name]:
            notes.append(f"{name} is {new['versions'][name]}, before {old['versions'][name]}")
    return notes, same_machine


def _figures(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """Yield (figure, old, new, whether it moved) for every figure of both."""
    if bool(old["failure"]) != bool(new["failure"]):
        was, now = (math.inf if one["failure"] else 1.0 for one in (old, new))
        yield "completion", was, now, True
        return
    for counted, share in COUNTED.items():
        if "counted" in old and "counted" in new:
            was, now = old["counted"][counted], new["counted"][counted]
            yield counted, was, now, abs(now - was) > share * was
    if "timed" not in old or "timed" not in new:
        return
    figure, was, now = "seconds", old["timed"]["seconds"], new["timed"]["seconds"]
    if MEASURE in old["timed"]["over"] and MEASURE in new["timed"]["over"]:
        figure = PACE
        if name != MEASURE:
            figure, was, now = RATIO, old["timed"]["over"][MEASURE], new["timed"]["over"][MEASURE]
    difference, error = abs(now["median"] - was["median"]), math.hypot(was["error"], now["error"])
    moved = difference > ERRORS * error and difference > TIME * was["median"]
    yield figure, was["median"], now["median"], moved
    if old["timed"]["peak_allocated"] and new["timed"]["peak_allocated"]:
        was, now = old["timed"]["peak_allocated"], new["timed"]["peak_allocated"]
        yield "peak_allocated", was, now, abs(now - was) > ALLOCATED * was


def _named(machine: Mapping[str, Any]) -> str:
    return f"{machine['gpu'] or machine['cpu']}, {machine['threads']} threads"
