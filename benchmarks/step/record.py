"""Records of the suite as files: read, and put together when one call would take too long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepa_vlm.errors import JepaVLMError

SCHEMA = 1
ONE_RECORD = ("machine", "versions", "commit", "config")  # must agree for cases to stand in one record


def read_record(path: Path) -> dict[str, Any]:
    """Read a record of the suite.

    Raises:
        JepaVLMError: If the file is not one.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JepaVLMError(f"There is no record {path}; `jepa-vlm bench step` writes one.") from None
    except ValueError as err:
        raise JepaVLMError(f"{path} is not JSON ({err}); give a record of `jepa-vlm bench step`.") from None
    if not isinstance(record, dict) or record.get("suite") != "step" or record.get("schema") != SCHEMA:
        raise JepaVLMError(f"{path} is not a record of `jepa-vlm bench step` in format {SCHEMA}; make it anew.")
    return record


def merge_records(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return one record with the cases of both; a case that both have is the new one's.

    Raises:
        JepaVLMError: If they were not made by the same code, with the same settings, on the same machine.
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
    """Return what tells a case from the others of a record."""
    return f"{case['mix']}, checkpointing {'on' if case['checkpointing'] else 'off'}, {case['examples']} examples"


def _row_key(row: Mapping[str, Any]) -> str:
    return f"{row['mix']}, {row['wanted']} tokens"
