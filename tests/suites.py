"""Writes small copies of the published benchmarks, in their exact layout on disk."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from PIL import Image

INSTRUCTION = "Answer with the option's letter from the given choices directly."
GLOVE = f"What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar\n(D) leather\n{INSTRUCTION}"
SIDE = f"Is the dog on the left or right side of the bicycle?\n(A) right\n(B) left\n{INSTRUCTION}"


def save(path: Path, *, color: str = "red", size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def vstar_rows(direct: int, relative: int) -> list[dict]:
    """Rows as in test_questions.jsonl; the ids are strings or numbers, as they come."""
    rows = [
        {
            "image": f"direct_attributes/sa_{i}.jpg",
            "text": GLOVE,
            "category": "direct_attributes",
            "label": "ABCD"[i % 4],
            "question_id": str(i),
        }
        for i in range(direct)
    ]
    return rows + [
        {
            "image": f"relative_position/sa_{i}.jpg",
            "text": SIDE,
            "category": "relative_position",
            "label": "AB"[i % 2],
            "question_id": i,
        }
        for i in range(direct, direct + relative)
    ]


def write_vstar(folder: Path, *, direct: int = 3, relative: int = 2) -> Path:
    rows = vstar_rows(direct, relative)
    for row in rows:
        save(folder / row["image"])
    (folder / "test_questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_mmvp(folder: Path, *, count: int = 4, images: str = "MMVP Images", last: int | None = None) -> Path:
    """Write ``count`` questions that end with index ``last``; the answer of an odd index is (a)."""
    first = (last or count) - count + 1
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "Questions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Index", "Question", "Options", "Correct Answer"])
        for index in range(first, first + count):
            question = f"Is the door of truck {(index + 1) // 2} open, or closed?"
            table.writerow([index, question, "(a) Open (b) Closed", "(a)" if index % 2 else "(b)"])
            save(folder / images / f"{index}.jpg", size=(16 + 2 * (index % 10), 32))
    return folder


def blink_row(subset: str, number: int, *, images: int = 1, options: int = 4) -> dict:
    choices = ["zero", "one", "two", "three"][:options]
    prompt = "How many dogs are there?\nSelect from the following choices.\n"
    prompt += "".join(f"({letter}) {choice}\n" for letter, choice in zip("ABCD", choices, strict=False))
    row = {
        "idx": f"val_{subset}_{number}",
        "question": "How many dogs are there?",
        "sub_task": subset,
        "explanation": "",
        "choices": choices,
        "answer": f"({'ABCD'[number % options]})",
        "prompt": prompt,
    }
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), "blue").save(encoded, format="JPEG")
    for place in range(1, 5):
        row[f"image_{place}"] = {"bytes": encoded.getvalue(), "path": None} if place <= images else None
    return row


def write_blink(folder: Path, rows: dict[str, list[dict]] | None = None) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [(name, pa.string()) for name in ("idx", "question", "sub_task", "explanation", "answer", "prompt")]
    fields += [(f"image_{place}", image) for place in range(1, 5)] + [("choices", pa.list_(pa.string()))]
    for subset, held in (rows or small_blink()).items():
        (folder / subset).mkdir(parents=True)
        table = pa.Table.from_pylist(held, schema=pa.schema(fields))
        parquet.write_table(table, folder / subset / "val-00000-of-00001.parquet")
    return folder


def small_blink() -> dict[str, list[dict]]:
    shapes = {
        "Counting": (1, 4),
        "IQ_Test": (1, 4),
        "Jigsaw": (3, 2),
        "Relative_Reflectance": (1, 3),
        "Spatial_Relation": (1, 2),
    }
    return {
        subset: [blink_row(subset, number, images=images, options=options) for number in range(1, 3)]
        for subset, (images, options) in shapes.items()
    }
