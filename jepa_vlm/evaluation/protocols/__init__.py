"""Named, versioned protocols: how a published number was measured, as one value to be asked for by name.

docs/protocols.md says of every value whether it is a fact, from where, or a guess.
"""

from jepa_vlm.evaluation.protocols import lmms_eval as lmms_eval  # each files itself
from jepa_vlm.evaluation.protocols import lvr_protocol as lvr_protocol
from jepa_vlm.evaluation.protocols import pearl as pearl
from jepa_vlm.evaluation.protocols import pixel_reasoner as pixel_reasoner
from jepa_vlm.evaluation.protocols import vlmevalkit as vlmevalkit
from jepa_vlm.evaluation.protocols.named import DEFAULT_PROTOCOL, LIBRARY, PROTOCOLS, NamedProtocol, load_protocol

__all__ = ["DEFAULT_PROTOCOL", "LIBRARY", "PROTOCOLS", "NamedProtocol", "load_protocol"]
