"""DINOv2: every patch's feature, and the class token's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from PIL import Image
from torch import Tensor

from jepa_vlm.experts.expert import RATE, Expert, Seen
from jepa_vlm.experts.frozen import NetworkTarget, Reader
from jepa_vlm.experts.mean_loss import MeanLoss
from jepa_vlm.experts.query_head import QueryHead
from jepa_vlm.views import Pads

LARGE = "facebook/dinov2-large"


@final
@dataclass(frozen=True)
class Framed(Reader):
    """The middle of the picture in a black frame, its shorter side ``short`` pixels long.

    CoVT's code asks the model's own processor for a crop of 448 x 448, and that shrinks the shorter side to 256 first.

    Args:
        short: See above.
    """

    short: int

    def square(self, picture: Image.Image) -> Image.Image:
        """See ``Reader``."""
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
    model: str = LARGE,
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
        pads: How many.
        short: Length of the picture's shorter side, in pixels.
        side, patch: Of the square that is shown, and of the model's patches, in pixels: 1 + (side / patch)^2 queries.
        width: Of the model's features.
        weight: Of the loss; CoVT's.
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
