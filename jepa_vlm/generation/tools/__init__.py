"""Tools that a model may call on images while it answers. They run in this process; no code of a model is ever run."""

from jepa_vlm.generation.tools import crop_image as crop_image  # each files itself
from jepa_vlm.generation.tools import crop_image_normalized as crop_image_normalized
from jepa_vlm.generation.tools import draw_box as draw_box
from jepa_vlm.generation.tools import highlight as highlight
from jepa_vlm.generation.tools import select_frames as select_frames
from jepa_vlm.generation.tools.tool import IMAGE_TOOLS, ImageTool, ToolError, ToolFunction

__all__ = ["IMAGE_TOOLS", "ImageTool", "ToolError", "ToolFunction"]
