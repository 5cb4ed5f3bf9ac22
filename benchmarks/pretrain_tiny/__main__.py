"""``python -m benchmarks.pretrain_tiny``: pretrain the embedded backbone, ship a seed, write its card."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import nn

from benchmarks.pretrain_tiny.card import MODEL, card, mean_share, measure
from benchmarks.pretrain_tiny.curriculum import STEPS
from benchmarks.pretrain_tiny.train import LOG, Settings, swiftest_dtype, train
from jepa_vlm.adapters.processors import save_processor
from jepa_vlm.adapters.qwen2_5_vl import Qwen25VLAdapter
from jepa_vlm.whole_files import write_whole

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def main(
    out: Annotated[Path, typer.Option(help="Where the shipped seed's model and card go.")] = Path(
        "jepa_vlm/adapters/weights/tiny-qwen2.5-vl"
    ),
    results: Annotated[Path, typer.Option(help="Every measured number.")] = Path("docs/results/tiny_pretraining.json"),
    work: Annotated[Path, typer.Option(help="Checkpoints and logs; the same command goes on from them.")] = Path(
        "runs/pretrain_tiny"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Of each seed.")] = STEPS,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Default: 0, 1; may repeat.")] = None,
    ship: Annotated[int | None, typer.Option(help="Seed; default: the best on the validation split.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (the hardware's swiftest), bfloat16 or float32.")] = "auto",
    test_every: Annotated[int, typer.Option(min=1, help="Steps between tests, each with a checkpoint.")] = 250,
) -> None:
    """Pretrain the tiny Qwen2.5-VL on the playground, one seed after the other, and ship one."""
    console = Console(stderr=True, soft_wrap=True)
    seeds = seed or [0, 1]
    if ship is not None and ship not in seeds:
        raise typer.BadParameter(f"must be one of the seeds, {', '.join(map(str, seeds))}", param_hint="--ship")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)  # products this small are faster on one
    if dtype not in ("auto", *DTYPES):
        raise typer.BadParameter(f"must be auto, {' or '.join(DTYPES)}, got {dtype!r}", param_hint="--dtype")
    runs_in = swiftest_dtype(device) if dtype == "auto" else DTYPES[dtype]
    trained = {}
    for number in seeds:
        trained[number] = work / f"seed-{number}"
        settings = Settings(
            folder=trained[number], steps=steps, seed=number, device=device, test_every=test_every, dtype=runs_in
        )
        _save(*train(settings, console), trained[number] / MODEL)
    logs = {number: json.loads((folder / LOG).read_text().splitlines()[-1]) for number, folder in trained.items()}
    shipped = max(logs, key=lambda number: mean_share(logs[number])) if ship is None else ship
    hardware = torch.cuda.get_device_name() if device == "cuda" else "one CPU core"
    found = measure(trained, shipped, {"steps": steps, "device": device, "hardware": hardware})
    shutil.copytree(trained[shipped] / MODEL, out, dirs_exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.pretrain_tiny", *sys.argv[1:]])
    write_whole(out / "README.md", card(found, command))
    write_whole(results, json.dumps({**found, "command": command}, indent=1) + "\n")
    console.print(f"seed {shipped} is shipped; its model and card are in {out}, every number in {results}")


def _save(model: nn.Module, processor: Any, folder: Path) -> None:
    """Write the model in float16 as stock transformers reads it."""
    model.half().save_pretrained(folder)  # type: ignore[operator]
    save_processor(processor, folder, video_processor=Qwen25VLAdapter.video_processor)
    state_for_transformers_4(folder)


def state_for_transformers_4(folder: Path) -> None:
    """State rotary positions and pixel budget in the words of transformers 4, which 5 reads as well."""
    config = json.loads((folder / "config.json").read_text())
    text, rope = config["text_config"], config["text_config"].pop("rope_parameters")
    text |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    del config["vision_config"]["rope_parameters"]  # the family's default
    processor = json.loads((folder / "processor_config.json").read_text())
    images, size = processor["image_processor"], processor["image_processor"]["size"]
    images |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    for name, held in (("config.json", config), ("processor_config.json", processor)):
        (folder / name).write_text(json.dumps(held, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    typer.run(main)
