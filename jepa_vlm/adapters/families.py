"""The families that have an adapter, and the adapter of a model."""

from __future__ import annotations

import inspect
from typing import Any, final

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from jepa_vlm.adapters.adapter import ADAPTERS, PROJECTIONS, Adapter
from jepa_vlm.adapters.gemma3 import Gemma3Adapter
from jepa_vlm.adapters.glm4v import Glm4vAdapter
from jepa_vlm.adapters.grid import GridAdapter
from jepa_vlm.adapters.idefics3 import Idefics3Adapter
from jepa_vlm.adapters.lfm2_vl import Lfm2VlAdapter
from jepa_vlm.adapters.llava_next import LlavaNextAdapter, LlavaOnevisionAdapter
from jepa_vlm.adapters.mllama import MllamaAdapter
from jepa_vlm.adapters.paligemma import PaliGemmaAdapter
from jepa_vlm.adapters.pixtral import PixtralAdapter
from jepa_vlm.adapters.qwen2_5_vl import Qwen25VLAdapter
from jepa_vlm.adapters.qwen3_vl import Qwen3VLAdapter
from jepa_vlm.adapters.tiles import TiledAdapter
from jepa_vlm.errors import BackboneError

# Settings of a decoder that change the logits behind the head: name, what it does to them, value at which it does
# nothing. The models of the listed families read the first alone.
CAP = ("final_logit_softcapping", "caps", 0)
SCALES = (("logits_scaling", "scales", 1), ("output_multiplier", "scales", 1))


# Families that differ from another adapter in a few values.


@final
class Qwen2VLAdapter(GridAdapter):
    """The family of ``Qwen2VLForConditionalGeneration``."""

    video_processor = "Qwen2VLVideoProcessor"


@final
class Qwen35Adapter(GridAdapter):
    """The family of ``Qwen3_5ForConditionalGeneration``."""

    video_processor = "Qwen3VLVideoProcessor"
    interpolated = True
    projections = (*PROJECTIONS, "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")


@final
class InternVLAdapter(TiledAdapter):
    """The family of ``InternVLForConditionalGeneration``."""

    video_processor = "InternVLVideoProcessor"


@final
class SmolVLMAdapter(Idefics3Adapter):
    """The family of ``SmolVLMForConditionalGeneration``."""

    video_processor = "SmolVLMVideoProcessor"
    mixes_types = False  # it brings features to the type of the model's first tensor, not to that of the embeddings


def llava(*, config: PretrainedConfig) -> Adapter:
    """Return the adapter of a ``LlavaForConditionalGeneration``; Pixtral 12B is one, with a tower of its own."""
    pixtral = config.vision_config.model_type == "pixtral"
    return PixtralAdapter(config=config) if pixtral else Adapter(config=config)


for _model_type, _adapter in {
    "aya_vision": TiledAdapter,
    "gemma3": Gemma3Adapter,
    "glm4v": Glm4vAdapter,
    "idefics3": Idefics3Adapter,
    "internvl": InternVLAdapter,
    "lfm2_vl": Lfm2VlAdapter,
    "llava": llava,
    "llava_next": LlavaNextAdapter,
    "llava_onevision": LlavaOnevisionAdapter,
    "mistral3": PixtralAdapter,
    "mllama": MllamaAdapter,
    "paligemma": PaliGemmaAdapter,
    "qwen2_5_vl": Qwen25VLAdapter,
    "qwen2_vl": Qwen2VLAdapter,
    "qwen3_5": Qwen35Adapter,
    "qwen3_vl": Qwen3VLAdapter,
    "qwen3_vl_moe": Qwen3VLAdapter,
    "smolvlm": SmolVLMAdapter,
}.items():
    ADAPTERS.register(_model_type)(_adapter)


@final
class UnlistedAdapter(Adapter):
    """A family that is not listed: it trains with the engine ``separate``, which runs the stock model as it is."""

    def __init__(self, *, config: PretrainedConfig) -> None:
        super().__init__(config=config)
        model: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
        read = inspect.signature(model.get_image_features).parameters
        made = (*self.image_inputs, "image_sizes", "image_grid_thw", "pixel_attention_mask", "spatial_shapes")
        self.image_inputs = tuple(name for name in made if name in read)

    @classmethod
    def fits(cls, config: PretrainedConfig) -> bool:
        """Return whether a model has the interfaces that an adapter needs."""
        named = any(getattr(config, name, None) is not None for name in ("image_token_id", "image_token_index"))
        kind = type(config)
        known = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        return named and known and "get_image_features" in dir(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[kind])

    @property
    def separate_because(self) -> str:
        """See ``Adapter.separate_because``."""
        return f"nobody has checked the family {self.config.model_type!r} with packed sequences"


def adapter_of(config: PretrainedConfig) -> Adapter:
    """Return the adapter of a model's family.

    Raises:
        UnknownNameError: If there is none, and transformers' interfaces do not suffice for one.
        BackboneError: If the model changes its logits behind the head.
    """
    kind, text = config.model_type, config.get_text_config()
    unlisted = kind not in ADAPTERS and UnlistedAdapter.fits(config)
    adapter = UnlistedAdapter(config=config) if unlisted else ADAPTERS[kind](config=config)
    for name, verb, idle in (CAP, *SCALES) if unlisted else (CAP,):
        if getattr(text, name, None) not in (None, idle):
            raise BackboneError(
                f"A decoder of {text.model_type!r} {verb} its logits behind the head ({name}), so that token losses on "
                "its states would not be the model's; it is not supported."
            )
    return adapter
