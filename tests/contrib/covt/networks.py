"""Tiny experts with random weights, saved where their loaders look: in a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    SamConfig,
    SamModel,
)

SIDE, PATCH, WIDTH = 56, 14, 16
SMALL = 28  # of the square that a picture is stretched to before it is enlarged to SIDE


def _backbone(**more) -> Dinov2Config:
    return Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=SIDE,
        patch_size=PATCH,
        **more,
    )


def saved_dinov2(folder: Path) -> str:
    """Save a DINOv2 of four layers."""
    torch.manual_seed(0)
    Dinov2Model(_backbone()).save_pretrained(folder)
    return str(folder)


def saved_depth_anything(folder: Path) -> str:
    """Save a Depth-Anything whose neck reads all four layers."""
    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=_backbone(
            out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True
        ),
        reassemble_hidden_size=WIDTH,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        patch_size=PATCH,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    return str(folder)


def saved_sam(folder: Path) -> str:
    """Save a SAM that is shown squares of 64 pixels."""
    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": WIDTH,
            "output_channels": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "mlp_dim": 32,
            "num_pos_feats": WIDTH // 2,
        },
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    SamModel(config).save_pretrained(folder)
    return str(folder)
