"""Figures are well-formed, and their points and cells lie where their numbers say."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from napari_virtualstain.jobs.svg import Point, cloud, heat_map, scatter


def parsed(figure):
    return ET.fromstring(figure)


def drawn(points):
    figure = scatter(
        points, x="true & so", y="<predicted>", colours={"": "red", "b": "blue"}, label='"a"'
    )
    return parsed(figure)


def test_points_lie_to_scale_from_zero_and_say_their_names():
    root = drawn([Point(0, 0, "none"), Point(10, 5, "<A01>"), Point(5, 10, "A02", "b")])
    none, one, other = root.findall("circle")
    (frame,) = root.findall("rect")
    left, top, side = (float(frame.get(name)) for name in ("x", "y", "width"))
    assert (float(none.get("cx")), float(none.get("cy"))) == (left, top + side)
    assert float(one.get("cx")) - left == pytest.approx(side, abs=0.1)
    assert float(one.get("cy")) == pytest.approx(top + side / 2, abs=0.1)
    assert (float(other.get("cx")) - left) * 2 == pytest.approx(side, abs=0.2)
    assert one.find("title").text == "<A01>: 10, 5"
    assert other.get("fill") == "blue"


@pytest.mark.parametrize(
    "points",
    [[], [Point(math.nan, 1, "a")], [Point(0, 0, "a")], [Point(1e-7, 3e-7, "a")], [Point(3e6, 1, "a")]],
    ids=["nothing", "no number", "zero", "tiny", "large"],
)  # fmt: skip
def test_nothing_lies_outside_of_the_frame(points):
    root = drawn(points)
    (frame,) = root.findall("rect")
    left, top, side = (float(frame.get(name)) for name in ("x", "y", "width"))
    for one in root.findall("circle"):
        assert left <= float(one.get("cx")) <= left + side + 0.1
        assert top - 0.1 <= float(one.get("cy")) <= top + side
    assert len(root.findall("text")) <= 2 * 7 + 2


def test_cells_have_their_number_and_empty_ones_are_not_drawn():
    values = {("shape", "all"): (0.98, "nuclei & all"), ("amount", "DNA"): (-0.5, "x"),
              ("amount", "ER"): (math.nan, "")}  # fmt: skip
    figure = heat_map(values, rows=["shape", "amount"], columns=["all", "DNA", "ER"], label="l")
    root = parsed(figure)
    cells = root.findall("rect")
    assert [cell.find("title").text for cell in cells] == ["nuclei & all", "x"]
    assert {"0.98", "-0.50"} < {text.text for text in root.findall("text")}
    assert all(float(cells[0].get(axis)) < float(cells[1].get(axis)) for axis in "xy")
    blue, orange = (tuple(map(int, c.get("fill")[4:-1].split(","))) for c in cells)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_a_cloud_keeps_neighbours_and_is_as_high_as_it_is_wide_only_if_points_are():
    points = [
        Point(0, 0, "low", "a"), Point(10, 5, "high", "a", hollow=True),
        Point(float("nan"), 1, "none", "a"),
    ]  # fmt: skip
    drawn = cloud(points, colours={"a": "#123456"}, label="wells")
    width, height = (
        float(v) for v in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn).groups()
    )
    assert (height - 20) * 2 == pytest.approx(width - 20, abs=0.3)
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5" ([^>]*)>', drawn)
    assert len(circles) == 2
    assert float(circles[0][0]) < float(circles[1][0])
    assert float(circles[0][1]) > float(circles[1][1])
    assert ["none" in how for _, _, how in circles] == [False, True]
    assert "<svg" in cloud([], colours={}, label="nothing")
