"""Models that experts look through: loaded by name when they are first needed, and never trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, final

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from jepa_vlm.errors import BackboneError
from jepa_vlm.experts.expert import ExpertTarget, Seen
from jepa_vlm.trajectories import LazyImage
from jepa_vlm.typing import full_precision

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as DINOv2, Depth-Anything and SAM were trained


@dataclass(frozen=True)
class Reader(ABC):
    """Reads an image as a square of normalised pixels ("channels height width").

    Args:
        side: Of the square, in pixels.
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
        """Return what is shown of a picture."""


@final
class Stretched(Reader):
    """The whole picture, stretched to the square: what CoVT's code shows to SAM and Depth-Anything."""

    def square(self, picture: Image.Image) -> Image.Image:
        """See ``Reader``."""
        return picture.resize((self.side, self.side), Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def frozen(kind: str, name: str, device: torch.device) -> Any:
    """Return a model of transformers in float32, frozen; the same object whoever asks.

    Args:
        kind: Its class.
        name: A hub id or a folder.
        device: Where to.

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
    """What a frozen network sees in an image: computed without gradient, and not in half precision.

    Args:
        model: A hub id or a folder.
        reader: Makes its inputs of an image.
    """

    kind: ClassVar[str]  # the network's class in transformers

    model: str
    reader: Reader

    @property
    @final
    def inputs(self) -> Reader:
        """See ``ExpertTarget.inputs``."""
        return self.reader

    @final
    def __call__(self, inputs: Tensor) -> Seen:
        """See ``ExpertTarget``."""
        with torch.no_grad(), full_precision(inputs.device):
            return self.seen_by(frozen(self.kind, self.model, inputs.device), inputs.float())

    @abstractmethod
    def seen_by(self, network: Any, pixels: Tensor) -> Seen:
        """Return what the network sees in squares of pixels ("batch channels height width")."""
