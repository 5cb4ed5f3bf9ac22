"""Files that trajectories come from, one format to a file."""

from jepa_vlm.trajectories.formats.jsonl import read_jsonl, write_jsonl
from jepa_vlm.trajectories.formats.lvr import read_lvr
from jepa_vlm.trajectories.formats.reader import FORMATS, Reader
from jepa_vlm.trajectories.formats.thinkmorph import read_thinkmorph

__all__ = [
    "FORMATS",
    "Reader",
    "read_jsonl",
    "read_lvr",
    "read_thinkmorph",
    "write_jsonl",
]
