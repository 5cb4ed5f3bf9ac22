"""Where a published benchmark lies: a folder as it was downloaded, or a data set of the hub at one commit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.data_spec import DataSpec, parse_spec

_COMMIT = re.compile(r"[0-9a-f]{40}")


def parse_source(name: str, argument: str, *, hub_id: str, options: Sequence[str] = ()) -> DataSpec:
    """Return the parts of what follows a benchmark's name: a place, and options behind a ``#``.

    Args:
        name: The benchmark's.
        argument: ``FOLDER`` or ``OWNER/NAME#revision=COMMIT``, options added.
        hub_id: The published data set, for messages.
        options: The options that the benchmark takes besides ``revision``.

    Raises:
        DataError: If there is no place, or an option that the benchmark does not take.
    """
    if not argument:
        raise DataError(
            f"{name} needs the place of its files: {name}:FOLDER, or {name}:{hub_id}#revision=COMMIT from the hub."
        )
    spec = parse_spec(f"{name}:{argument}")
    unknown = sorted(spec.options.keys() - {"revision", *options})
    if unknown:
        raise DataError(f"{name} takes the options {', '.join(('revision', *options))}; got {', '.join(unknown)}.")
    return spec


def folder_of(spec: DataSpec, *, patterns: Sequence[str]) -> Path:
    """Return the benchmark's folder, fetched from the hub if ``revision`` pins a commit of it.

    Args:
        spec: What ``parse_source`` returned.
        patterns: The files that are needed of a hub data set.

    Raises:
        DataError: If the folder does not exist, the revision is not a whole commit, or the hub cannot be reached.
    """
    revision = spec.options.get("revision")
    if revision is None:
        folder = Path(spec.rest).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"Folder {spec.rest} does not exist; check the path, or for a data set of the hub pin its commit: "
                f"{spec.source}:OWNER/NAME#revision=COMMIT."
            )
        return folder
    if not _COMMIT.fullmatch(revision):
        raise DataError(
            f"revision must be a commit of 40 hex digits, so that the data cannot change; got {revision!r}."
        )
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(spec.rest, repo_type="dataset", revision=revision, allow_patterns=list(patterns))
    except (OSError, ValueError) as err:
        first_line = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise DataError(
            f"Cannot fetch the data set {spec.rest} at {revision[:12]}: {first_line} Check the id and the network, or "
            "download it elsewhere and give the folder."
        ) from None
    return Path(found)
