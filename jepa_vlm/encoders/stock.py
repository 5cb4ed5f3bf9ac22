"""Which attention a model's layers call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_vlm.errors import BackboneError


def call_attention(base: Any, names: Mapping[str, str]) -> None:
    """Let each part of a model call the attention of this name.

    Args:
        base: The Hugging Face model.
        names: By part of the configuration: ``text_config``, ``vision_config``.

    Raises:
        BackboneError: If the model does not let it be chosen: transformers would warn, and keep its own.
    """
    kind = base.config.model_type
    if all(getattr(base.config, part, base.config)._attn_implementation == name for part, name in names.items()):
        return  # setting it walks through all modules
    try:
        base.set_attn_implementation(dict(names))
    except (ValueError, ImportError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise BackboneError(f"The family {kind!r} cannot call the attention {dict(names)}: {reason}") from None
    wanted, found = names["text_config"], base.config.get_text_config()._attn_implementation
    if found != wanted:
        raise BackboneError(
            f"The decoder of {kind!r} keeps the attention {found!r} where {wanted!r} is needed; its layers do not go "
            "through transformers' attention interface. Train with --engine separate."
        )
