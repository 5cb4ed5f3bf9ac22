"""Experts that are frozen networks, loaded when a batch first needs them: DINOv2 and Depth-Anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from jepa_vlm.contrib.covt.expert import RATE, Expert, ExpertTarget, Seen
from jepa_vlm.contrib.covt.expert_heads import PadHead, QueryHead
from jepa_vlm.contrib.covt.expert_losses import MeanLoss
from jepa_vlm.contrib.covt.padded_conversation import Pads
from jepa_vlm.errors import BackboneError
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.typing import full_precision

# Mean and standard deviation of ImageNet's pixels; DINOv2, Depth-Anything and SAM expect pixels normalised by them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DINOV2_LARGE = "facebook/dinov2-large"
DEPTH_LARGE = "depth-anything/Depth-Anything-V2-Large-hf"


@dataclass(frozen=True)
class PixelReader(ABC):
    """Converts an image to a square of normalised pixels ("channels height width").

    Args:
        side: Side of the square in pixels.
    """

    side: int

    @final
    def __call__(self, image: LazyImage) -> Tensor:
        """Return the pixels.

        Raises:
            DataError: If the image cannot be read.
        """
        pixels = torch.from_numpy(np.asarray(self.square(image.load()), np.float32) / 255)
        return rearrange((pixels - torch.tensor(MEAN)) / torch.tensor(STD), "height width rgb -> rgb height width")

    @abstractmethod
    def square(self, picture: Image.Image) -> Image.Image:
        """Return the square of a picture that the network is shown."""


@final
class Stretched(PixelReader):
    """Stretches the whole picture to the square, as CoVT's code does for SAM and Depth-Anything."""

    def square(self, picture: Image.Image) -> Image.Image:
        """See ``PixelReader``."""
        return picture.resize((self.side, self.side), Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def frozen(kind: str, name: str, device: torch.device) -> Any:
    """Return a frozen model of transformers in float32; equal arguments return the same object.

    Args:
        kind: Class of the model.
        name: A hub id or a folder.
        device: Device of the model.

    Raises:
        BackboneError: If it cannot be loaded.
    """
    import transformers

    try:
        model = getattr(transformers, kind).from_pretrained(name, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, ImportError) as err:
        first_line = next(iter(str(err).strip().splitlines()), f"{type(err).__name__}.")
        raise BackboneError(
            f"The expert {kind} {name!r} cannot be loaded: {first_line} Give a folder that holds it, or leave it out."
        ) from None
    return model.eval().requires_grad_(False).to(device)


@dataclass(frozen=True)
class NetworkTarget(ExpertTarget):
    """The output of a frozen network for an image, computed without gradient and in full precision.

    Args:
        model: A hub id or a folder.
        reader: Converts an image to the inputs of the network.
    """

    kind: ClassVar[str]  # the network's class in transformers

    model: str
    reader: PixelReader

    @property
    @final
    def inputs(self) -> PixelReader:
        """See ``ExpertTarget.inputs``."""
        return self.reader

    @final
    def __call__(self, inputs: Tensor) -> Seen:
        """See ``ExpertTarget``."""
        with torch.no_grad(), full_precision(inputs.device):
            return self.seen_by(frozen(self.kind, self.model, inputs.device), inputs.float())

    @abstractmethod
    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """Return the network's output for squares of pixels ("batch channels height width")."""


@final
@dataclass(frozen=True)
class Framed(PixelReader):
    """Shrinks the picture to a shorter side of ``short`` pixels and cuts its middle, padded with black to the square.

    CoVT's code takes a crop of 448 x 448 from the model's own processor, which shrinks the shorter side to 256 first.

    Args:
        short: Shorter side of the shrunk picture, in pixels.
    """

    short: int

    def square(self, picture: Image.Image) -> Image.Image:
        """See ``PixelReader``."""
        width, height = (int(self.short * length / min(picture.size)) for length in picture.size)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        shrunk = picture.resize((width, height), Image.Resampling.BICUBIC)
        return shrunk.crop((left, top, left + self.side, top + self.side))


@final
@dataclass(frozen=True)
class Dinov2Features(NetworkTarget):
    """The last hidden state of a DINOv2, ("batch 1+patches width")."""

    kind: ClassVar[str] = "Dinov2Model"

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        return Seen(network(pixel_values=pixels).last_hidden_state)


def dinov2(
    *,
    model: str = DINOV2_LARGE,
    pads: int = 4,
    short: int = 256,
    side: int = 448,
    patch: int = 14,
    width: int = 1024,
    weight: float = 0.5,
) -> Expert:
    """Return the expert for DINOv2's features, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: Number of expert tokens.
        short: Shorter side of the shrunk picture, in pixels.
        side: Side of the square that the model is shown, in pixels.
        patch: Side of the model's patches, in pixels; the head has 1 + (side / patch)^2 queries.
        width: Width of the model's features.
        weight: Weight of the loss; the default is CoVT's.
    """
    return Expert(
        name="dinov2",
        pads=Pads("<|dino_pad|>", pads),
        target=Dinov2Features(model, Framed(side, short)),
        head=QueryHead(queries=1 + (side // patch) ** 2, width=width),
        loss=MeanLoss(power=2),
        weight=weight,
        rate=RATE,
    )


@final
@dataclass(frozen=True)
class PredictedDepth(NetworkTarget):
    """The depth that a Depth-Anything predicts, at the size of its inputs, ("batch 1 height width").

    An answer has one vector for each layer whose features the model's neck reads. The products of the vector with the
    features of all patches in that layer form a map. The predicted depth is the mean of the layers' maps, enlarged to
    the size of the target (CoVT's ``DepthReconstructor``).

    Args:
        model: A hub id or a folder.
        reader: See ``NetworkTarget``.
        side: Side of the square that the model is shown, in pixels; the inputs are enlarged to it.
        patch: Side of the model's patches, in pixels.
    """

    kind: ClassVar[str] = "DepthAnythingForDepthEstimation"

    side: int
    patch: int

    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """See ``NetworkTarget``."""
        size, rows = pixels.shape[-2:], self.side // self.patch
        shown = F.interpolate(pixels, self.side, mode="bicubic")
        depth = network(pixel_values=shown).predicted_depth[:, None]
        maps = network.backbone.forward_with_filtered_kwargs(shown).feature_maps
        features = torch.stack([each[:, -(rows**2) :] for each in maps], dim=1)  # the class token left out

        def decode(answer: Tensor) -> Tensor:
            product = torch.einsum("blpd,bld->bp", features.to(answer.dtype), answer) / features.shape[1]
            return F.interpolate(product.view(-1, 1, rows, rows), size, mode="bilinear")

        return Seen(F.interpolate(depth, size, mode="bilinear", align_corners=True), decode)


def depth_anything(
    *,
    model: str = DEPTH_LARGE,
    pads: int = 4,
    small: int = 256,
    side: int = 518,
    patch: int = 14,
    width: int = 1024,
    weight: float = 0.005,
) -> Expert:
    """Return the expert for Depth-Anything's depth, with CoVT's head and loss.

    Args:
        model: A hub id or a folder.
        pads: Number of expert tokens: one for each layer that the model's neck reads.
        small: Side of the square that a picture is stretched to, in pixels; depths are compared at this size.
        side: Side of the square that the model is shown, in pixels.
        patch: Side of the model's patches, in pixels.
        width: Width of the model's features.
        weight: Weight of the loss; the default is CoVT's.
    """
    return Expert(
        name="depth_anything",
        pads=Pads("<|depth_pad|>", pads),
        target=PredictedDepth(model, Stretched(small), side, patch),
        head=PadHead(out=width),
        loss=MeanLoss(power=1),
        weight=weight,
    )
