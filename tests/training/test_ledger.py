"""The ledger's sums, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import torch

from jepa_vlm.latent_vlm import LossTerms
from jepa_vlm.training.metrics import TermLedger


def terms(**raw):
    values = {name: torch.tensor(value) for name, value in raw.items()}
    weighted = {name: 0.5 * value for name, value in values.items()}
    return LossTerms(torch.zeros(()), weighted, values, {}, {})


def test_micro_batches_add_up_and_steps_are_averaged():
    ledger = TermLedger()
    for value in (1.0, 2.0):  # one step of two micro-batches
        ledger.add(terms(a=value, b=4.0), ["x"])
    ledger.close_step()
    for value in (3.0, 4.0):
        ledger.add(terms(a=value, b=4.0), ["y"])
    assert ledger.drain(steps=2) == {"a": {"raw": 5.0, "weighted": 2.5}, "b": {"raw": 8.0, "weighted": 4.0}}
    assert ledger.drain(steps=2) == {}


def test_a_raw_mean_is_over_the_steps_that_computed_the_term():
    ledger = TermLedger()
    for value, skipped in ((3.0, ()), (0.0, ("a", "c")), (5.0, ("c",))):
        ledger.add(replace(terms(a=value, b=1.0, c=0.0), skipped=skipped), ["x"])
        ledger.close_step()
    assert ledger.drain(steps=3) == {
        "a": {"raw": 4.0, "weighted": 4.0 / 3},
        "b": {"raw": 1.0, "weighted": 0.5},
        "c": {"raw": 0.0, "weighted": 0.0},
    }
    ledger.add(replace(terms(a=0.0, b=1.0), skipped=("a",)), ["x"])
    assert ledger.drain(steps=1) == {"b": {"raw": 1.0, "weighted": 0.5}}


def test_parts_are_over_the_steps_that_computed_their_term():
    ledger = TermLedger()
    for value, skipped in ((3.0, ()), (0.0, ("a",)), (5.0, ())):
        part = torch.tensor(value - 1)
        parts = {} if skipped else {"a/x": torch.tensor(1.0), "a/y": part}
        ledger.add(replace(terms(a=value, b=1.0), skipped=skipped, parts=parts), ["x"])
        ledger.close_step()
    assert ledger.drain(steps=3) == {
        "a": {"raw": 4.0, "weighted": 4.0 / 3, "parts": {"x": 1.0, "y": 3.0}},
        "b": {"raw": 1.0, "weighted": 0.5},
    }
    ledger.add(terms(a=1.0), ["x"])
    assert ledger.drain(steps=1) == {"a": {"raw": 1.0, "weighted": 0.5}}


def test_a_broken_value_is_found_with_its_examples():
    ledger = TermLedger()
    ledger.add(terms(a=1.0, b=2.0), ["x", "y"])
    assert float(ledger.step_total()) == 3.0
    ledger.add(terms(a=float("nan"), b=2.0), ["z"])
    assert not ledger.step_total().isfinite()
    assert ledger.broken() == [("a", ["z"])]


def test_a_closed_step_is_forgotten():
    ledger = TermLedger()
    ledger.add(terms(a=float("inf")), ["x"])
    ledger.close_step()
    assert ledger.step_total() is None
    assert ledger.broken() == []
