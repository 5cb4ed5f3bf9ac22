"""How much memory and time large data takes: ``python -m benchmarks.data_scale --rows 100000 --folder NEW``.

Writes rows in the layout of LVR's data over a number of JPEG files, and measures, each in a process of its own:
``data check`` (images decoded), ``data convert``, and opening the store up to the first example with its image. Memory
is the largest sum of the proportional set sizes of a process and its workers, sampled once a second. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

SIDES = (640, 480)
CLI = (sys.executable, "-m", "jepa_vlm.cli")
OPEN = """
import json, sys, time
import pyarrow.parquet
from jepa_vlm.trajectories.load import load_trajectories
began = time.perf_counter()
rows = load_trajectories(sys.argv[1])
opened = time.perf_counter()
rows[0].images[0].load()
print(json.dumps({"rows": len(rows), "opened": opened - began, "first example": time.perf_counter() - began}))
"""


def write_lvr(folder: Path, *, rows: int, images: int) -> Path:
    """Write a list of LVR rows with one to three boxes over noisy JPEG files, a row at a time; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(images):
        coarse = draw.integers(0, 256, (SIDES[1] // 8, SIDES[0] // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIDES).save(folder / f"{number}.jpg", quality=85)
    path = folder / "lvr.json"
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(("[" if number == 0 else ",\n") + json.dumps(_row(number, images, draw)))
        file.write("]\n")
    return path


def _row(number: int, images: int, draw: np.random.Generator) -> dict[str, Any]:
    corners = draw.uniform(0, 0.5, (int(draw.integers(1, 4)), 2)).round(4)
    asked = f"<image>\nWhat stands at place {number} of the shelf, left of the lamp?"
    told = "".join("I look here. <lvr>\n" for _ in corners) + f"<answer> a vase with {number % 97} flowers </answer>"
    return {
        "dataset": "made",
        "split": "train",
        "question_id": number,
        "image": [f"{number % images}.jpg"],
        "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": told}],
        "bboxes": [[*corner.tolist(), *(corner + 0.4).tolist()] for corner in corners],
    }


def measured(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; return its seconds, its largest memory in MiB, and the JSON that it printed."""
    began, largest = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            largest = max(largest, _memory(root))
            time.sleep(1)
        seconds = time.perf_counter() - began
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return {"seconds": round(seconds, 1), "MiB": round(largest / 2**20), "said": json.loads(said)}


def _memory(root: psutil.Process) -> int:
    total = 0
    for one in (root, *_children(root)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = root.children(recursive=True)
    except psutil.Error:
        return []
    return children


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the files")
    asked = parser.parse_args()
    path = write_lvr(asked.folder, rows=asked.rows, images=asked.images)
    store = asked.folder / "store"
    check = measured([*CLI, "data", "check", f"lvr:{path}", "--workers", str(asked.workers), "--json"])
    check["said"] = {"bad": check["said"]["bad"], "rows": check["said"]["sources"]["lvr"]["rows"]}
    convert = measured([*CLI, "data", "convert", f"lvr:{path}", "--to", str(store), "--json"])
    opened = measured([sys.executable, "-c", OPEN, f"parquet:{store}"])
    found = {
        "rows": asked.rows,
        "workers": asked.workers,
        "cores": os.cpu_count(),
        "list MiB": path.stat().st_size >> 20,
    }
    sys.stdout.write(json.dumps({**found, "check": check, "convert": convert, "open": opened}, indent=1) + "\n")


if __name__ == "__main__":
    main()
