"""A learning rate of its own for each part of the model."""

from __future__ import annotations

from collections.abc import Mapping

from torch.optim import Optimizer

from jepa_vlm.latent_vlm import LatentVLM


def split_by_rate(optimizer: Optimizer, model: LatentVLM, rates: Mapping[str, float]) -> None:
    """Split the optimiser's groups so that each part's parameters have their multiple of the learning rate.

    Args:
        optimizer: Changed in place, before its schedule is made.
        model: What it trains.
        rates: Multiples by part, see ``Recipe``. A module of the objective may state its multiple as ``rate``, as a
            ``TextEncoder`` does; the objective's other parameters have the rate itself.
    """
    adapter, base = model.backbone.adapter, model.backbone.base
    prefix = adapter.decoder_prefix(base)
    factors = {id(p): rates.get(adapter.part(name, prefix), 1.0) for name, p in base.named_parameters()}
    for module in model.objective.modules():
        rate = getattr(module, "rate", None)
        if isinstance(rate, int | float):
            factors |= {id(p): rate for p in module.parameters()}
    split = []
    for group in optimizer.param_groups:
        for factor in sorted({factors.get(id(p), 1.0) for p in group["params"]}):
            own = [p for p in group["params"] if factors.get(id(p), 1.0) == factor]
            split.append({**group, "params": own, "lr": group["lr"] * factor})
    optimizer.param_groups[:] = split
