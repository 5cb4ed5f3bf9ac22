"""Every check, on every family that this machine can build: in float64, so that equality is a proof."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from jepa_vlm.adapters.names import BACKBONES
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.conformance import CHECKS, Subject
from jepa_vlm.conformance.check import run_check
from tests.factories import families

APART = {"tiny-random-qwen3.5", "tiny-random-mllama", "tiny-random-lfm2-vl"}
# One for each way to differ: plain, features for several layers, tiles, tokens that see each other both ways.
FAST = ("tiny-random-qwen2.5-vl", "tiny-random-qwen3-vl", "tiny-random-smolvlm", "tiny-random-gemma3")
SILENT = {
    *((name, "one_pass equals separate") for name in APART),
    ("tiny-random-mllama", "images encoded once equal images per view"),
    ("tiny-random-paligemma", "tokens are the stock processor's"),
}


@lru_cache(maxsize=1)  # families come one after another
def subject(name: str) -> Subject:
    return Subject.load(name, torch.float64)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", families(fast=FAST))
def test_every_check_passes_for_every_tiny_family(name, check):
    result = run_check(check, subject(name))
    expected = "not applicable" if (name, check.name) in SILENT else "pass"
    assert result.verdict == expected, result.detail


def test_every_tiny_family_has_a_name_and_every_name_a_builder():
    assert set(TINY) == {name for name in BACKBONES if name.startswith("tiny-random")}
