"""One run of the comparison, and all of them: what is finished already is not done again."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr

import torch

from benchmarks.learning.arms import ARMS, ITEM_SEED, Cell
from benchmarks.learning.controls import blanked, latent_losses
from jepa_vlm import Backbone, load_backbone, train
from jepa_vlm.evaluation import evaluate
from jepa_vlm.runs import RunResult
from jepa_vlm.runs.environment import device
from jepa_vlm.runs.folder import RunFolder
from jepa_vlm.whole_files import write_whole

IMAGES, BLANKS, LATENTS = "images.json", "blanks.json", "latents.json"
RUN = "run"


def run_all(cells: Sequence[Cell], *, jobs: int = 1) -> Iterator[Cell]:
    """Do every cell, and yield each when it is done.

    Args:
        cells: What to do.
        jobs: Processes at once; with 1, everything happens in this one.
    """
    if jobs == 1:
        for cell in cells:
            run_cell(cell)
            yield cell
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(run_cell, cell): cell for cell in cells}
        try:
            for done in as_completed(waiting):
                done.result()
                yield waiting[done]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_cell(cell: Cell) -> None:
    """Train, unless that is done or there is no arm, and answer the questions, unless that is done."""
    torch.set_num_threads(1)
    cell.folder.mkdir(parents=True, exist_ok=True)
    if finished(cell):
        return
    with _talk_into(cell):
        if cell.arm is None:
            _answer(load_backbone(cell.setting.backbone), cell)
            return
        result = _train(cell)
        _answer(load_backbone(result.export), cell)
        held_out = cell.setting.world(cell.regime).trajectories(
            count=cell.setting.latents, seed=ITEM_SEED, split=cell.setting.split
        )
        found = latent_losses(RunFolder(path=cell.folder / RUN).best, ARMS[cell.arm].recipe, held_out)
        write_whole(cell.answers / LATENTS, json.dumps(found, indent=1) + "\n")


def finished(cell: Cell) -> bool:
    """Say whether a cell has nothing left to do; its last file is written whole or not at all."""
    return (cell.answers / (BLANKS if cell.arm is None else LATENTS)).is_file()


def _train(cell: Cell) -> RunResult:
    """Train, go on with what was interrupted, or read what is there."""
    folder = RunFolder(path=cell.folder / RUN)
    if (folder.path / "result.json").is_file():
        return RunResult.read(folder.path)
    return train(
        ARMS[str(cell.arm)].recipe,
        data=cell.setting.data(cell.regime, cell.arm),
        output=folder.path,
        seed=cell.seed,
        questions=0,
        resume=folder.config.is_file(),
        **cell.setting.training(),
    )


def _answer(backbone: Backbone, cell: Cell) -> None:
    torch.nn.Module.to(backbone.model, device())
    items = cell.setting.questions(cell.regime)
    for name, asked in ((IMAGES, items), (BLANKS, blanked(items))):
        if not (cell.answers / name).is_file():
            found = evaluate(backbone, asked, benchmark=cell.setting.data(cell.regime), seed=ITEM_SEED)
            found.to_json(cell.answers / name)


@contextmanager
def _talk_into(cell: Cell) -> Iterator[None]:
    with (cell.folder / "log.txt").open("a", encoding="utf-8") as log, redirect_stderr(log):
        yield
