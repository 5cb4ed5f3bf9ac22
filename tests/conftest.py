"""Fixtures for the whole suite."""

from __future__ import annotations

import gc
import os
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

# Before torch: the models are tiny, and threads of several test processes only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from PIL import Image
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

import jepa_vlm as jv
from jepa_vlm import plugins
from jepa_vlm.adapters.processors import save_processor
from jepa_vlm.engine import attention
from jepa_vlm.trajectories import Box, LazyImage, MultipleChoice, Step, ToolCall, Trajectory
from tests.engine.kernel import Kernel
from tests.factories import made_evaluation
from tests.pages import EVIL, Page
from tests.trajectories.formats.files import make_root

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def declared_entry_points(*, group: str) -> list[EntryPoint]:
    """Return the entry points of a group that this checkout's pyproject.toml declares."""
    table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"]
    return [EntryPoint(name, value, group) for name, value in table.get(group, {}).items()]


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collections: the trainer collects in full at its beginning."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _entry_points_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the command line what pyproject.toml declares now, whatever the installed version declared."""
    monkeypatch.setattr(plugins, "entry_points", declared_entry_points)


@pytest.fixture
def pure_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lift the casts to float32 inside stock modules, so that a comparison in float64 is a proof."""

    def norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        turn = modeling_qwen2_5_vl.rotate_half
        cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
        return tuple(t * cos.to(t.dtype) + turn(t) * sin.to(t.dtype) for t in (q, k))

    monkeypatch.setattr(modeling_qwen2_5_vl.Qwen2_5_VLRMSNorm, "forward", norm)
    monkeypatch.setattr(modeling_qwen2_5_vl, "apply_rotary_pos_emb_vision", rotary)


@pytest.fixture(scope="module")
def backbone() -> jv.Backbone:
    """The tiny Qwen2.5-VL with random weights, one for each test file."""
    return jv.load_backbone("tiny-random-qwen2.5-vl", seed=0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Replace torch's variable-length attention kernel by a stand-in that runs on the CPU."""
    found = Kernel()
    monkeypatch.setattr(attention, "kernel_runs", lambda query, dropout: dropout == 0)
    monkeypatch.setattr(attention, "varlen_attn", found)
    return found


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an export writes it, made without training."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", seed=0)
    backbone.base.save_pretrained(folder)
    save_processor(backbone.processor, folder, video_processor=backbone.adapter.video_processor)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with good images and hostile ones; ``make_root`` lists them."""
    return make_root(tmp_path)


@pytest.fixture
def evaluation() -> Callable[..., jv.Evaluation]:
    """The function that makes an evaluation of one answer for each mark: right answers are A, wrong ones B."""
    return made_evaluation


@pytest.fixture
def page() -> type[Page]:
    """The reader of an HTML page, which checks that its elements close in order."""
    return Page


@pytest.fixture
def evil() -> str:
    """HTML that a page must escape."""
    return EVIL


def white_image(size: tuple[int, int] = (32, 16)) -> LazyImage:
    return LazyImage(pixels=Image.new("RGB", size, "white"))


@pytest.fixture
def trajectory() -> Trajectory:
    """A trajectory of one crop, every text of which holds HTML that must be escaped."""
    crop = ToolCall("crop", {"column": 2}, box=Box(4, 2, 12, 10, relative=False), image=0)
    return Trajectory(
        id="item-0",
        images=(white_image(),),
        question=f"What is it? {EVIL}",
        steps=(Step(f"I look {EVIL}", crop, white_image((8, 8)), observation=f"here {EVIL}"), Step("A")),
        answer="A",
        task=f"search {EVIL}",
    )


@pytest.fixture
def item() -> MultipleChoice:
    """A question with two options, whose prompt holds HTML that must be escaped."""
    return MultipleChoice(
        id="item-0", images=(white_image(),), prompt=f"What is it? {EVIL}", options=("x", "y"), answer=0, task="search"
    )
