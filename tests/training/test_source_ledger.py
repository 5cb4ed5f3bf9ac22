"""The sums by source, worked by hand."""

from __future__ import annotations

import torch

from jepa_vlm.latent_vlm import LossTerms
from jepa_vlm.training.metrics import SourceLedger


def terms(skipped=(), **by_source):
    sums = {name: torch.tensor(values) for name, values in by_source.items()}
    return LossTerms(torch.zeros(()), {}, {}, {}, {}, skipped=skipped, by_source=sums)


def test_a_source_is_divided_by_its_own_units():
    ledger = SourceLedger(sources=["x", "y"], weights={"a": 0.5})
    ledger.add(terms(a=[6.0, 1.0]), [{"a": 2}, {"a": 4}])
    ledger.add(terms(a=[3.0, 0.0]), [{"a": 1}, {"a": 0}])
    assert ledger.drain() == {
        "x": {"terms": {"a": {"raw": 3.0, "weighted": 1.5, "count": 3.0}}},
        "y": {"terms": {"a": {"raw": 0.25, "weighted": 0.125, "count": 4.0}}},
    }
    assert ledger.drain() == {}


def test_what_was_not_seen_is_left_out():
    ledger = SourceLedger(sources=["x", "y"], weights={"a": 1.0, "b": 1.0, "c": 1.0})
    ledger.add(terms(a=[6.0, 0.0], b=[0.0, 0.0], skipped=("b",)), [{"a": 2, "b": 0}, {"a": 0, "b": 0}])
    assert ledger.drain() == {"x": {"terms": {"a": {"raw": 3.0, "weighted": 3.0, "count": 2.0}}}}


def test_without_a_mixture_there_is_nothing():
    ledger = SourceLedger(sources=[], weights={"a": 1.0})
    ledger.add(terms(), [])
    assert ledger.drain() == {}
