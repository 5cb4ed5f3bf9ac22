"""Files that trajectories come from, one format to a file."""

from jepa_vlm.trajectories.formats.jsonl import read_jsonl, write_jsonl
from jepa_vlm.trajectories.formats.reader import FORMATS, Reader

__all__ = [
    "FORMATS",
    "Reader",
    "read_jsonl",
    "write_jsonl",
]
