"""Figures: right colours for the numbers, labels as they are, the same SVG whatever the user's settings."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest

from influence.report.charts import heat_map
from influence.report.slopes import Curves, curve_panel

R = np.array([[1.0, 0.5, -1.0], [0.5, 1.0, np.nan], [-1.0, np.nan, 1.0]])


def figures() -> list[str]:
    ranks, lines = (
        np.array([1, 10, 100]),
        {"q<1>": np.array([5.0, 0.5, 0.05]), "q2": np.array([3.0, -1.0, 0.0])},
    )
    task = Curves("a<b", "factual", ranks, lines, np.array([4.0, 0.1, 0.02]), 5.0 / ranks, -1.0, 0.1)
    tasks, groups = ["$x_1$", "a<b&c", "a<b&c"], ["reasoning", "control", "<unknown>"]
    return [
        heat_map(R, tasks, groups, ["q $\\frac$", "q\u202e2", "q3"], "Pearson R"),
        curve_panel(task, (0.01, 10), "curve-1", "per nat"),
    ]


def pixels(svg: str, number: int) -> npt.NDArray[np.int64]:
    """The `number`-th image in a figure, RGBA."""
    encoded = re.findall(r'base64,\s*([^"]+)"', svg)[number]
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)), format="png")
    return np.asarray(np.round(255 * image), np.int64)


def test_hue_is_the_sign_and_opacity_the_size_of_r() -> None:
    cells = pixels(figures()[0], 0)
    assert cells[0, 1].tolist() == [0x21, 0x66, 0xAC, 128]  # +0.5
    assert cells[0, 2].tolist() == [0xB3, 0x58, 0x06, 255]  # −1
    assert cells[1, 2].tolist() == [0x80, 0x80, 0x80, 0x60]  # not defined
    assert (np.diagonal(cells[..., 3]) == 0).all()  # left to the hatching
    np.testing.assert_array_equal(cells, cells.transpose(1, 0, 2))
    bar = pixels(figures()[0], 1)[:, 0]
    assert bar[0].tolist() == [0x21, 0x66, 0xAC, 255]  # +1 at the top
    assert bar[-1].tolist() == [0xB3, 0x58, 0x06, 255]
    assert bar[100, 3] == 0


def test_labels_are_text_as_they_are() -> None:
    texts = [
        "".join(element.itertext()) for element in ET.fromstring(figures()[0]).iter() if "text" in element.tag
    ]
    assert {"$x_1$", "a<b&c", "q $\\frac$", "q⟨U+202E⟩2", "reasoning"} <= set(texts)


def test_no_style_survives_and_every_colour_follows_the_theme() -> None:
    for svg in figures():
        assert "<style" not in svg
        assert not re.search(r'style="|metadata|<\?xml|DOCTYPE|https?://(?!www\.w3\.org)', svg)
        inks = set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg))
        assert not [ink for ink in inks if ink.startswith("#")], inks
        assert "currentColor" in inks


def test_the_settings_of_the_user_neither_matter_nor_change() -> None:
    before = figures()
    with matplotlib.rc_context(
        {"text.usetex": False, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}
    ):
        assert figures() == before
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize("n", [2, 40, 260])
def test_any_number_of_queries(n: int) -> None:
    svg = heat_map(
        np.eye(n), [f"t{i // 7}" for i in range(n)], ["control"] * n, [f"q{i}" for i in range(n)], "R"
    )
    assert len(svg) < 60_000
    assert pixels(svg, 0).shape == (n, n, 4)
