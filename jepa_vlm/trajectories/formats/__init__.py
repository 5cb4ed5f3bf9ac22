"""Files that trajectories come from, one format to a file."""

from jepa_vlm.trajectories.formats.covt import read_covt
from jepa_vlm.trajectories.formats.jsonl import read_jsonl, write_jsonl
from jepa_vlm.trajectories.formats.llava import read_llava
from jepa_vlm.trajectories.formats.lvr import read_lvr
from jepa_vlm.trajectories.formats.messages import read_messages
from jepa_vlm.trajectories.formats.mirage import read_mirage
from jepa_vlm.trajectories.formats.pixelreasoner import read_pixelreasoner
from jepa_vlm.trajectories.formats.records import FORMATS
from jepa_vlm.trajectories.formats.store import WrittenStore, read_store, write_store
from jepa_vlm.trajectories.formats.thinkmorph import read_thinkmorph
from jepa_vlm.trajectories.formats.viscot import read_viscot

__all__ = [
    "FORMATS",
    "WrittenStore",
    "read_covt",
    "read_jsonl",
    "read_llava",
    "read_lvr",
    "read_messages",
    "read_mirage",
    "read_pixelreasoner",
    "read_store",
    "read_thinkmorph",
    "read_viscot",
    "write_jsonl",
    "write_store",
]
