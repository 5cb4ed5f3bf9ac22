"""Expert trajectories: the schema, and the files that they come from."""

from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.image import LazyImage
from jepa_vlm.trajectories.rows import Rows
from jepa_vlm.trajectories.trajectory import MultipleChoice, Step, ToolCall, Trajectory

__all__ = ["Box", "LazyImage", "MultipleChoice", "Rows", "Step", "ToolCall", "Trajectory"]
