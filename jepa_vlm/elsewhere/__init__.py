"""An exported folder in other people's programs: the commands that run it there, and a plug-in for lmms-eval."""

from jepa_vlm.elsewhere.folder import ModelFolder
from jepa_vlm.elsewhere.program import PROGRAMS, write_runs
from jepa_vlm.elsewhere.run import Run

__all__ = ["PROGRAMS", "ModelFolder", "Run", "write_runs"]
