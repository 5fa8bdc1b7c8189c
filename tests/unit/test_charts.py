"""Figures: right colours for the numbers, labels as they are, the same SVG whatever the user's settings."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest

from influence.report.charts import heat_map
from influence.report.concentration import Curves, curve_panel
from influence.report.drawing import drawing_of
from influence.report.line_charts import FEW, Axes, Series, line_chart

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


def cut(figure: Any) -> list[str]:
    """Labels of a figure that do not fit on it."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    shown = []
    for axes in figure.axes:
        box = axes.get_tightbbox()
        if box is not None and (box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height):
            shown.append(f"{box.bounds} of {width} x {height}")
    return shown


@pytest.mark.parametrize("values", [[1.0, 123_456.0], [-987_654.0, -1.0], [1e-9, 1e-4], [0.0, 1.0]])
def test_no_label_is_cut(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of a scale, names of lines and titles stand whole on the picture, whatever their length."""
    drawn: list[Any] = []
    monkeypatch.setattr("influence.report.drawing.export", lambda figure, name: drawn.append(figure))
    lines = [Series("a group with a long name", [1, 100_000], values, end="100,000/100,000")]
    svg = line_chart("wide", "Wide", lines, Axes("rank", "summed score of a long unit (dot / nats)"))
    assert cut(drawn[0]) == []
    texts = {"".join(e.itertext()) for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")}
    if values[1] > 1e5:
        assert "100,000" in texts


def test_a_figure_that_does_not_fit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `test_no_label_is_cut` looks at does see a label that is cut."""
    drawn: list[Any] = []
    monkeypatch.setattr("influence.report.drawing.export", lambda figure, name: drawn.append(figure))
    monkeypatch.setattr("influence.report.drawing.fit", lambda figure: None)
    with drawing_of("cut", 2, 1) as drawing:
        drawing.figure.add_axes((0.01, 0.2, 0.9, 0.7)).plot([0, 1], [0, 1e6])
    assert cut(drawn[0])


def test_a_line_over_few_queries_is_thin_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("influence.report.drawing.export", lambda figure, name: drawn.append(figure))
    lines = [Series(f"n{n}", [1, 2], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], n=n) for n in (FEW - 1, FEW)]
    with pytest.raises(AssertionError, match="do not say what they are"):
        line_chart("few", "Few", lines, Axes("x", "y"))
    svg = line_chart("few", "Few", lines, Axes("x", "y", band="95 % of something"))
    few, enough = drawn[0].axes[0].get_lines()[:2]
    assert few.get_linewidth() < enough.get_linewidth()
    assert [band.get_gid() for band in drawn[0].axes[0].collections] == ["label-1-band"]
    assert f"n = {FEW - 1}" in svg
    assert "band: 95 % of something" in svg


def test_a_curve_that_bends_is_no_power_law() -> None:
    ranks = np.geomspace(1, 500, 30)
    straight, bent = ranks**-1.0, np.where(ranks < 22, ranks**-0.1, 22**1.9 * ranks**-2.0)
    laws = [Curves("t", "factual", ranks, {}, median, median, -1.0, 0.004).law for median in (straight, bent)]
    assert laws == ["α = −1.00 ± 0.004", "no power law: α = −0.10 at first, −2.00 later"]
