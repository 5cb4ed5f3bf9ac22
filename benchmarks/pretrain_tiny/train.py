"""The training loop: seeded, resumable, and judged by the accuracy of every kind of question, not by its loss."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from rich.console import Console
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.pretrain_tiny.batches import Encoder, Stream
from benchmarks.pretrain_tiny.forward import Forward, Reader, accuracy, held_out
from benchmarks.pretrain_tiny.optimizer import Optimizer
from jepa_vlm.adapters.tiny.build import build_tiny
from jepa_vlm.adapters.tiny.qwen_and_glm import QWEN2_5_VL
from jepa_vlm.whole_files import write_whole

READER_WEIGHT, HINTS_WEIGHT = 0.5, 0.3
STATE, LOG = "state.safetensors", "log.jsonl"


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of a training.

    Args:
        folder: For the checkpoint and the log.
        steps: Of the optimizer.
        seed: Of weights and lessons.
        device: Where to run.
        test_every: Steps between tests, each with a checkpoint.
        dtype: That the model runs in; weights and averages are float32 in any case.
    """

    folder: Path
    steps: int
    seed: int
    device: str
    test_every: int
    dtype: torch.dtype


def train(settings: Settings, console: Console) -> tuple[nn.Module, Any]:
    """Train, going on from the folder's checkpoint if there is one; return the float32 model and its processor.

    Raises:
        ValueError: If the checkpoint belongs to a training of another length.
    """
    torch.manual_seed(settings.seed)
    settings.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(settings.device)
    model, processor = build_tiny(QWEN2_5_VL, seed=settings.seed)
    encoder = Encoder(processor)
    reader = Reader(tokenizer=processor.tokenizer, dim=model.config.text_config.hidden_size)
    nn.Module.to(model, device)
    reader.to(device)
    optimizer = Optimizer(modules={"model": model, "reader": reader}, steps=settings.steps, dtype=settings.dtype)
    start, spent = _resume(optimizer, settings.folder)
    forward = Forward(model=model, encoder=encoder)
    tests = held_out(encoder)
    stream = Stream(encoder=encoder, seed=settings.seed, steps=settings.steps, start=start)
    losses: list[float] = []
    began = time.perf_counter()
    for step, batch in enumerate(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4), start):
        batch = batch.to(device)
        features = forward.features(batch)
        inside = forward.run(batch, features)
        loss = forward.loss(batch, inside)
        losses.append(float(loss.detach()))
        loss = loss + HINTS_WEIGHT * forward.hints(batch, inside)
        if batch.shown is not None:
            embedding = model.get_input_embeddings().weight
            loss = loss + READER_WEIGHT * reader(features, embedding, batch.shown, fitting=batch.fitting)
        loss.backward()
        optimizer.step(step)
        if (step + 1) % settings.test_every == 0 or step + 1 == settings.steps:
            shares = {"/".join(name): sum(r) / len(r) for name, r in accuracy(forward, tests).items()}
            minutes = spent + (time.perf_counter() - began) / 60
            row = {"step": step + 1, "minutes": round(minutes, 2), "dtype": str(settings.dtype).removeprefix("torch.")}
            _log(settings.folder, console, row | {"loss": round(sum(losses) / len(losses), 4), "accuracy": shares})
            optimizer.save(settings.folder / STATE, step + 1)
            losses.clear()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.data = optimizer.full[f"model.{name}"]
    return model, processor


def swiftest_dtype(device: str) -> torch.dtype:
    """Return bfloat16 where the hardware has it, float32 where it would be emulated at a tenth of the speed."""
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if device == "cuda" or has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def _resume(optimizer: Optimizer, folder: Path) -> tuple[int, float]:
    """Take up a checkpoint, if there is one; return the steps that are done and the minutes that they took."""
    state = folder / STATE
    if not state.is_file():
        return 0, 0.0
    with safe_open(state, "pt") as file:
        done = {name: int(value) for name, value in file.metadata().items()}
    if done["steps"] != optimizer.steps:
        raise ValueError(
            f"{state} is of a training of {done['steps']} steps, not {optimizer.steps}; use another folder."
        )
    optimizer.load(state)
    rows = [
        row for line in (folder / LOG).read_text().splitlines() if (row := json.loads(line))["step"] <= done["step"]
    ]
    write_whole(folder / LOG, "".join(json.dumps(row) + "\n" for row in rows))
    return done["step"], float(rows[-1]["minutes"])


def _log(folder: Path, console: Console, row: Mapping[str, Any]) -> None:
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(row) + "\n")
    console.print("step {step}, {minutes:.1f} min, loss {loss:.3f}".format_map(row), highlight=False)
    kinds: dict[str, list[str]] = {}
    for name, share in row["accuracy"].items():
        kind, form = name.split("/")
        kinds.setdefault(kind, []).append(f"{form} {share:.2f}")
    console.print("  " + "; ".join(f"{kind}: {', '.join(parts)}" for kind, parts in kinds.items()), highlight=False)
