"""Self-contained HTML pages: one per run, and one to look at trajectories."""

from jepa_vlm.report.recorded_run import save_examples
from jepa_vlm.report.run_report import write_run_report
from jepa_vlm.report.trajectory_page import TrajectoryEntry, decode_tokens, write_trajectory_page

__all__ = ["TrajectoryEntry", "decode_tokens", "save_examples", "write_run_report", "write_trajectory_page"]
