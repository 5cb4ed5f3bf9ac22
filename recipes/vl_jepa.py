"""VL-JEPA's objective on a generative backbone: image and question predict the answer's embedding in a text encoder.

Run:      jepa-vlm recipe vl_jepa
          jepa-vlm recipe vl_jepa --backbone qwen2.5-vl-3b --data jsonl:qa.jsonl --set encoder=FOLDER_OR_HUB_ID
Hardware: the bundled default runs on two CPU cores. Negatives come from the micro-batch, so a large one matters more
          than accumulation; the paper's batches hold thousands.
Expect:   bundled default with 64 trajectories, seed 0, 30 steps of 8, width 64: held-out latent_prediction 2.51 ->
          2.07, a uniform guess in the batch: its answers are option letters. Accuracy is not measured yet.
Source:   arXiv:2512.10942; we know of no code released by its authors. There the predictor is a model of its own that
          writes nothing; here the backbone predicts and keeps its token loss. docs/method.md lists the differences.
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv


def recipe(
    *,
    encoder: str = "tiny-random-bert",
    rate: float = 0.05,
    weight: float = 0.2,
    width: int = 1536,
    layers: int = 2,
    temperature: float | Literal["learned"] = 0.07,
    readout: Literal["last_token", "mean"] = "last_token",
    rank: int | None = None,
) -> jv.Recipe:
    """Return the paper's target side on this library's backbones.

    Args:
        encoder: Of the answer: a folder or a hub id (the paper's is google/embeddinggemma-300m). The default has random
            weights, needs no download and goes with tiny backbones only.
        rate: Multiple of the learning rate at which the encoder trains.
        weight: Of the contrastive term beside the token loss.
        width: Size of the space in which both sides meet.
        layers: Of the head on each side; 1 is linear.
        temperature: Of the contrastive loss, or "learned".
        readout: Where the question is read; the paper averages, over states that see both ways.
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout=readout),
        predictor=jv.MLPPredictor(layers=layers, out=width),
        target=jv.ViewEncoder(
            jv.views.Answer(),
            readout="mean",
            encoder=jv.TextEncoder(name=encoder, rate=rate),
            policy=jv.with_gradient(),
        ),
        target_head=jv.MLPPredictor(layers=layers, out=width),
        loss=jv.InfoNCELoss(temperature=temperature, symmetric=True),
    )
    return jv.Recipe(
        objective=jv.NextToken() + weight * prediction,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-5, batch_size=16, accumulation=1, steps=2500, rank=64),
        warmup=0.05,
        weight_decay=0.1,
    )
