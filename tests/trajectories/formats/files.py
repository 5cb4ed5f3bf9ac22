"""A data root with images, good and hostile, and files in the layouts of the formats."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Trajectory

HOSTILE = [  # a reference to an image, the kind of problem, and what the message says
    ("gone.png", "image missing", "does not exist"),
    ("/etc/passwd", "image path", "must be relative to the data root"),
    ("../secret.png", "image path", "leads outside the data root"),
    ("link.png", "image path", "leads outside the data root"),
    ("a\0.png", "image path", "cannot be followed"),
    ("", "image path", "must be relative"),
    ("folder", "image path", "is no regular file"),
    ("text.png", "image unreadable", "is not a readable image"),
    ("huge.png", "image too large", "50000 x 50000|too many pixels"),
]


def png(width: int = 40, height: int = 20, color: str = "red") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (width, height), color).save(held, format="PNG")
    return held.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims a size, without any pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">II", zlib.crc32(body), 0) + b"IDAT"


def make_root(folder: Path) -> Path:
    """Return a data root with the 40 x 20 images a.png and b.png, and everything that ``HOSTILE`` refers to."""
    root = folder / "data"
    (root / "folder").mkdir(parents=True)
    (root / "a.png").write_bytes(png())
    (root / "b.png").write_bytes(png(color="blue"))
    (root / "text.png").write_text("not an image")
    (root / "huge.png").write_bytes(png_header(50_000, 50_000))
    (folder / "secret.png").write_bytes(png())
    (root / "link.png").symlink_to(folder / "secret.png")
    return root


def refused(rows: Sequence[Trajectory], where: str, message: str, problem: str) -> None:
    """Check that the second row is refused, at its place in the file, with a message (a pattern) and under a kind."""
    with pytest.raises(DataError, match=rf"{re.escape(where)}: .*({message})") as caught:
        rows[1]
    assert caught.value.problem == problem


def write_list(path: Path, *rows: object) -> Path:
    """Write a JSON list."""
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_lines(path: Path, *rows: object) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_table(path: Path, *rows: dict[str, object]) -> Path:
    """Write a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def _records() -> dict[str, tuple[str, dict[str, object]]]:
    """Return, by format, the name of an example's file and a good record of the 40 x 20 pictures a.png and b.png."""
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "<lvr>\n<answer> red </answer>"},
    ]
    plain = [turns[0], turns[1] | {"value": "red"}]
    cell = {"bytes": png(), "path": None}
    call = '{"name": "crop_image", "arguments": {"bbox_2d": [10, 0, 30, 20], "target_image": 1}}'
    chat = [
        {"role": "system", "content": [{"text": "You are a helpful assistant."}]},
        {"role": "user", "content": [{"text": "What is it?"}, {"image": "a.png"}]},
        {"role": "assistant", "content": [{"text": f"I zoom.\n<tool_call>{call}</tool_call>"}]},
        {"role": "user", "content": [{"text": "Here is the cropped image:"}, {"image": "b.png"}]},
        {"role": "assistant", "content": [{"text": "\\boxed{red}"}]},
    ]
    messages = [
        {"role": "user", "content": "<image>What is it?"},
        {"role": "assistant", "content": "It is red."},
    ]
    thinkmorph = {
        "question": "What is it?",
        "answer": "red",
        "problem_image_0": cell,
        "resoning_thought_0": "I look.",
        "reasoning_image_0": cell,
        "resoning_thought_1": "It is red.",
    }
    mirage = {
        "text_input": "Look: <image> What is it?",
        "text_output": "<think>I see.</think><output_image>\\boxed{red}",
        "image_input": "a.png",
        "image_output": "b.png",
    }
    viscot = {"question": "What is it?", "answer": "red", "image": "a.png", "width": 40, "height": 20}
    viscot |= {"bboxs": [[10, 0, 30, 20]], "dataset": ".", "split": "train"}
    crop = {"name": "crop", "arguments": {}, "box": [10, 0, 30, 20], "relative": False}
    steps = [{"text": "I look.", "call": crop, "image": "b.png"}, {"text": "red"}]
    return {
        "lvr": (
            "lvr.json",
            {"dataset": "d", "image": ["a.png"], "conversations": turns, "bboxes": [[0.25, 0, 0.75, 1]]},
        ),
        "pixelreasoner": ("release.json", {"qid": "q", "message_list": chat}),
        "messages": ("chat.jsonl", {"messages": messages, "images": ["a.png"]}),
        "mirage": ("mirage.jsonl", mirage),
        "viscot": ("viscot.jsonl", viscot),
        "llava": ("llava.json", {"id": "1", "image": "a.png", "conversations": plain}),
        "jsonl": (
            "native.jsonl",
            {"id": "1", "images": ["a.png"], "question": "What is it?", "steps": steps, "answer": "red"},
        ),
        "thinkmorph": ("thinkmorph/train.parquet", thinkmorph),
        "covt": ("covt/train.parquet", {"id": "1", "image": cell, "image_relpath": "x", "conversations": plain}),
    }


def example(name: str) -> dict[str, object]:
    """Return a good record of a format."""
    return _records()[name][1]


def write_records(name: str, root: Path, *records: object) -> str:
    """Write records of a format into a data root; return the data spec."""
    path = root / _records()[name][0]
    if path.suffix == ".parquet":
        write_table(path, *records)
    else:
        (write_list if path.suffix == ".json" else write_lines)(path, *records)
    return f"{name}:{path}"


def write_example(name: str, root: Path, count: int = 3) -> str:
    """Write ``count`` good rows of a format into a data root; return the data spec."""
    return write_records(name, root, *[example(name)] * count)


FORMATS_WITH_EXAMPLES = ("covt", "lvr", "messages", "mirage", "pixelreasoner", "thinkmorph", "viscot")
