"""The programs that can run an exported folder, and the scripts that are written into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jepa_vlm.elsewhere.folder import ModelFolder
from jepa_vlm.elsewhere.lmms_eval import lmms_eval
from jepa_vlm.elsewhere.run import Run
from jepa_vlm.elsewhere.vllm import vllm
from jepa_vlm.elsewhere.vlmevalkit import vlmevalkit
from jepa_vlm.registry import Registry
from jepa_vlm.whole_files import write_whole

PROGRAMS: Registry[Callable[[ModelFolder], Run]] = Registry("program")
PROGRAMS.register("lmms-eval")(lmms_eval)
PROGRAMS.register("vlmevalkit")(vlmevalkit)
PROGRAMS.register("vllm")(vllm)


def write_runs(folder: Path, programs: Sequence[str]) -> dict[str, Run]:
    """Write ``PROGRAM.sh``, and the files that it reads, into an exported folder; return the commands by program.

    Paths in them are absolute: write them again if the folder moves.

    Raises:
        UnknownNameError: If there is no such program.
        ExportError: If the folder is no exported model, or one of the programs cannot run it; then none is written.
    """
    held = ModelFolder.read(folder)
    runs = {name: PROGRAMS[name](held) for name in dict.fromkeys(programs)}
    for name, run in runs.items():
        for file, text in run.files.items():
            write_whole(held.path / file, text)
        script = held.path / f"{name}.sh"
        write_whole(script, run.script())
        mode = script.stat().st_mode
        script.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
    return runs
