"""Which format a file is in, by the keys of its first record."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.formats.fields import shown
from jepa_vlm.trajectories.formats.json_files import JsonRecords
from jepa_vlm.trajectories.formats.store import is_store
from jepa_vlm.trajectories.formats.tables import is_table, parquet, parquet_files

# Keys that only this format's records have; the first that fits is it.
KEYS = {
    "jsonl": {"steps", "question"},
    "mirage": {"text_input", "text_output"},
    "pixelreasoner": {"message_list"},
    "viscot": {"bboxs", "dataset"},
    "lvr": {"bboxes", "conversations"},
    "thinkmorph": {"problem_image_0", "reasoning_image_0"},
    "covt": {"image_relpath", "conversations"},
    "messages": {"messages"},
}
META = {"data_path", "image_folder"}  # of LVR's meta file


def detect(path: Path) -> str:
    """Return the name of the format.

    Raises:
        DataError: If the file is missing or cannot be read, or its records fit no format, or only one that others
            resemble.
    """
    if path.is_dir() and is_store(path):
        return "parquet"
    found = _keys(path)
    if found >= META:
        return "lvr"
    for name, keys in KEYS.items():
        if found >= keys:
            return name
    raise DataError(
        f"{path}: the format cannot be told from the keys {shown(', '.join(sorted(found)) or 'none')}; say "
        "FORMAT:PATH, such as llava:PATH."
    )


def _keys(path: Path) -> set[str]:
    if is_table(path):
        (_, file), *_ = parquet_files(path, split="train")
        try:
            return set(parquet().read_schema(file).names)
        except (OSError, ValueError) as err:
            raise DataError(f"Data file {file} is no readable parquet file ({err}).", "file") from None
    records = JsonRecords(path)
    try:
        return set(records.read(0))
    except DataError as err:
        raise err.at(records.place(0)) from None
