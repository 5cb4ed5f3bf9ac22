"""As Pearl writes its evaluation: option letters only, at most 4 tokens (arXiv:2604.08065, appendix A.1).

The paper states neither the prompt nor the resolution. It says that it follows LVR's protocol, so the prompt is LVR's.
"""

from __future__ import annotations

from jepa_vlm.evaluation.protocols.named import PROTOCOLS, NamedProtocol, refuse_preset
from jepa_vlm.evaluation.protocols.prompts import instructed
from jepa_vlm.generation.letters import SHORT_TOKENS


@PROTOCOLS.register("pearl-paper")
def pearl_paper(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol; it is the same on every benchmark."""
    refuse_preset("pearl-paper", preset)
    return NamedProtocol(name="pearl-paper-1", scoring="short", prompt=instructed, max_new_tokens=SHORT_TOKENS)
