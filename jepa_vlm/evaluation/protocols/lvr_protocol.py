"""As the code released with LVR evaluates (arXiv:2509.24251; VincentLeebang/lvr@637a9f7, evaluation/evaluation.py).

Free generation, then the first character after ``<answer>``. The released code repeats the instruction that V*'s text
ends with; here it stands once. Its latent steps are the model's, not the protocol's.
"""

from __future__ import annotations

from jepa_vlm.evaluation.protocols.named import PROTOCOLS, NamedProtocol, instructed, refuse_preset
from jepa_vlm.trajectories import MultipleChoice

TOKENS = 512


@PROTOCOLS.register("lvr")
def lvr(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol; it is the same on every benchmark."""
    refuse_preset("lvr", preset)
    return NamedProtocol(name="lvr-1", scoring="free", prompt=instructed, max_new_tokens=TOKENS, read=read_first)


def read_first(text: str, item: MultipleChoice) -> str | None:
    """Return the first character behind the last ``<answer>`` (of the whole text without one), if it is a letter of
    an option, as ``accuracy_reward`` takes it. Case counts.
    """
    first = text.rpartition("<answer>")[2].partition("</answer")[0].strip()[:1]
    return first if first and first in item.letters else None
