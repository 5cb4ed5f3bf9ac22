from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.playground import TOOLS
from jepa_vlm.playground.tools import assemble_call, crop_call, draw_path_call, highlight_call, use
from jepa_vlm.trajectories import ToolCall

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8), "RGB")


def painted(*boxes):
    """A white picture with black boxes."""
    picture = Image.new("RGB", (112, 112), "white")
    for box in boxes:
        picture.paste((0, 0, 0), box)
    return picture


@pytest.mark.parametrize(("cells", "side"), [(1, 48), (2, 64)])
def test_a_crop_shows_its_cells_enlarged(cells, side):
    picture = painted((32, 64, 32 + 16 * cells, 64 + 16 * cells))
    made = use(crop_call(3, 5, cells=cells), picture)
    assert made.size == (side, side)
    assert np.asarray(made).max() == 0  # nothing of the white around it
    assert np.asarray(use(crop_call(1, 1), picture)).min() == 255


def test_a_highlight_keeps_its_column_and_fades_the_rest():
    made, given = np.asarray(use(highlight_call(2), NOISE)), np.asarray(NOISE)
    assert (made[:, 16:32] == given[:, 16:32]).all()
    assert made[:, :16].min() >= 180
    assert made[:, 32:].min() >= 180
    assert highlight_call(2).box.in_pixels(112, 112) == (16, 0, 32, 112)


def test_assembling_moves_a_piece_into_the_hole_and_changes_nothing_else():
    made, given = np.asarray(use(assemble_call(3, 2, 4), NOISE)), np.asarray(NOISE)
    assert made.shape == (80, 80, 3)
    assert (made[48:64, 16:32] == given[96:112, 64:80]).all()  # the third piece is in column 5 of row 7
    rest = np.ones((80, 80), bool)
    rest[48:64, 16:32] = False
    assert (made[rest] == given[:80, :80][rest]).all()


def test_a_path_runs_through_the_centres_of_its_rooms():
    made = np.asarray(use(draw_path_call(2, 2, ["right", "down", "down"]), painted()))
    colored = (made != 255).any(-1)
    for column, row in [(2, 2), (3, 2), (3, 3), (3, 4)]:
        assert colored[row * 16 - 8, column * 16 - 8]
    assert not colored[2 * 16 - 8, 4 * 16 - 8]
    assert np.asarray(painted()).min() == 255


def test_tools_leave_the_picture_as_it_was():
    before = NOISE.tobytes()
    for call in (crop_call(1, 1), highlight_call(1), assemble_call(1, 1, 1), draw_path_call(1, 1, ["right"])):
        use(call, NOISE)
    assert NOISE.tobytes() == before


def test_an_unknown_tool_is_named():
    assert list(TOOLS) == ["assemble", "crop", "draw_path", "highlight"]
    with pytest.raises(UnknownNameError, match=r"No playground tool named 'cropp'\. Did you mean 'crop'"):
        use(ToolCall("cropp"), NOISE)
