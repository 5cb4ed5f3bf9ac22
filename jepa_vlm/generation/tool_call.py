"""Finds the call at the end of what a model wrote. It is read as JSON, and never run as code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from jepa_vlm.generation.tools import ToolError

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class Call(NamedTuple):
    """A call as the model wrote it."""

    name: str
    arguments: Mapping[str, Any]


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
