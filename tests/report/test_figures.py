from __future__ import annotations

from xml.etree import ElementTree

import pytest

from jepa_vlm.evaluation import Accuracy
from jepa_vlm.report.figures import Curve, Panel, accuracy_svg, panels_svg


def accuracy(value: float) -> Accuracy:
    return Accuracy(value=value, correct=int(8 * value), n=8, low=value / 2, high=(1 + value) / 2, chance=0.25)


def panel(title: str = "loss") -> Panel:
    return Panel(title, [Curve("train", [1, 2], [3.0, 2.0], "#888888")])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_figures_have_any_number_of_panels(count):
    svg = panels_svg([panel(f"term {i}") for i in range(count)], name="x")
    root = ElementTree.fromstring(svg)
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("id", "").startswith("axes_")]
    drawn = [g for g in groups if any(e.get("id", "").startswith("line2d") for e in g.iter())]
    assert len(drawn) == count


def test_figures_are_the_same_every_time():
    assert panels_svg([panel()], name="x") == panels_svg([panel()], name="x")


def test_figures_on_one_page_share_no_clip_path():
    def clips(name: str) -> set[str]:
        root = ElementTree.fromstring(panels_svg([panel()], name=name))
        return {e.get("id") for e in root.iter("{http://www.w3.org/2000/svg}clipPath")}

    assert clips("losses")
    assert not clips("losses") & clips("monitors")


def test_titles_are_text_not_markup(evil):
    svg = panels_svg([panel(f"$x$ --> {evil}")], name="x")
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_matplotlib_keeps_its_own_settings():
    import matplotlib

    before = dict(matplotlib.rcParams)
    panels_svg([panel()], name="x")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "rows", [[("all", accuracy(0.5), None)], [("all", None, accuracy(1.0)), ("maze", accuracy(0.0), None)]]
)
def test_a_figure_may_lack_one_of_its_two_series(rows):
    ElementTree.fromstring(accuracy_svg(rows, name="x"))


def test_figures_leave_out_gaps_and_infinities():
    curve = Curve("train", [1, 2, 3], [1.0, float("nan"), float("inf")], "#888888", marked=True)
    ElementTree.fromstring(panels_svg([Panel("loss", [curve])], name="x"))
