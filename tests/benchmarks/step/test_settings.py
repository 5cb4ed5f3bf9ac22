from __future__ import annotations

import pytest
import torch

from benchmarks.step.settings import ORDER, SuiteSettings
from benchmarks.step.variants import VARIANTS
from jepa_vlm.errors import JepaVLMError, UnknownNameError


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_real_sizes_are_counted_where_there_is_no_gpu():
    tiny, real = SuiteSettings(), SuiteSettings(shape="3b")
    assert (tiny.place.type, tiny.precision) == ("cpu", torch.float32)
    assert (real.place.type, real.precision) == ("meta", torch.bfloat16)


def test_everything_that_the_device_can_run_is_measured_in_reading_order():
    assert list(SuiteSettings().chosen_variants()) == list(ORDER)
    assert set(ORDER) <= set(VARIANTS)
    assert "pearl_separate" not in SuiteSettings(shape="3b").chosen_variants()
    assert list(SuiteSettings(variants=("pearl", "sft")).chosen_variants()) == ["sft", "pearl"]
    assert set(SuiteSettings().chosen_mixes()) == {"lvr", "pixelreasoner", "thinkmorph"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shape": "tinny"}, UnknownNameError, "Did you mean 'tiny'"),
        ({"mixes": ("lvrr",)}, UnknownNameError, "Did you mean 'lvr'"),
        ({"variants": ("perl",)}, UnknownNameError, "Did you mean 'pearl'"),
        ({"device": "cuda"}, JepaVLMError, "needs an NVIDIA GPU"),
        ({"shape": "3b", "variants": ("pearl_separate",)}, JepaVLMError, "cannot be counted on the meta device"),
        ({"shape": "3b", "crossover": (1024,)}, JepaVLMError, "the meta device has no time"),
        ({"examples": 0}, ValueError, "examples must be at least 1, got 0"),
        ({"rounds": 0}, ValueError, "rounds must be at least 1, got 0"),
    ],
)
def test_impossible_benchmark_settings_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        SuiteSettings(**options)
