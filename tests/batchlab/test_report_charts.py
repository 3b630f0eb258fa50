"""What the pictures of the report are made of: labels, themed SVG, ticks, contours."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_batch.batchlab.report.charts.labels import ASIDE, place
from tinygrad_batch.batchlab.report.charts.plot import Plot, chart, even_ticks, log_ticks
from tinygrad_batch.batchlab.report.html import Html, element, text
from tinygrad_batch.batchlab.report.looks import ALL, OTHERS, PLAIN, Looks
from tinygrad_batch.batchlab.report.surfaces import below, thin
from tinygrad_batch.batchlab.report.svg import inline


def simple(plot: Plot):
    plot.across("rows", 1, 100)
    plot.up("loss & <more>", 0.1, 10)
    plot.line([1, 100], [0.2, 8], OTHERS[1])
    plot.band([1, 100], [0.1, 5], [0.3, 9], OTHERS[1])
    plot.interval(10, 1, 0.5, 2, ALL)
    plot.beyond(50, 2, "backward")
    plot.label(10, 1, "ten", ALL)


def test_a_chart_is_themed_and_keeps_its_words():
    drawn = chart("one", "A title", "What it shows", simple)
    assert isinstance(drawn, Html)
    assert "style=" not in drawn
    assert "#" not in re.sub(r"url\(#one-\d+\)|href=\"#one-\d+\"", "", drawn)
    assert all(f">{word}</text>" in drawn for word in ("rows", "ten", "loss &amp; &lt;more&gt;"))
    assert drawn.startswith('<svg><title id="one-title">') is False
    assert 'role="img" aria-labelledby="one-title one-desc"' in drawn
    assert all(name.startswith("one-") for name in re.findall(r' id="([^"]*)"', drawn))
    assert drawn == chart("one", "A title", "What it shows", simple)
    assert len(drawn) < 8_000


def test_a_colour_of_ones_own_is_an_error():
    with pytest.raises(ValueError, match="#123456 is not in the palette"):
        inline('<svg viewBox="0 0 1 1"><path d="M 0 0" style="fill: #123456"/></svg>', "x", "", "")


def test_looks_differ_in_more_than_colour():
    looks = Looks({"rows": 353, "batch_sizes": [1, 10, 32, 353]})
    found = [looks.of(size, 353) for size in (1, 10, 32, 353)]
    assert (
        len({look.colour for look in found})
        == len({look.mark for look in found})
        == len({look.dash for look in found})
        == 4
    )
    assert looks.of(7, 353) == PLAIN
    assert looks.chip(7, 353) == "7 rows"
    assert "<svg" in looks.chip(10, 353)


def test_text_is_escaped_unless_it_is_html():
    assert element("p", "<b>", Html("<b></b>"), title='"') == '<p title="&quot;">&lt;b&gt;<b></b></p>'
    assert text("a\x00b\u202e") == "ab"


points = st.tuples(st.floats(60, 340), st.floats(60, 200))


@given(st.lists(points, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_labels_stay_inside_and_do_not_cover_each_other(ends):
    boxes = place([(x, y, 30, ASIDE) for x, y in ends], ends, [], (400, 260))
    for box in boxes:
        assert box[0] > 0
        assert box[1] > 0
        assert box[2] < 400
        assert box[3] < 260
    alone = [
        box
        for box, (x, y) in zip(boxes, ends, strict=True)
        if min([9e9, *(np.hypot(x - a, y - b) for a, b in ends if (a, b) != (x, y))]) > 120
    ]
    for box in alone:
        assert not [other for other in boxes if other is not box and _meet(box, other)]


def _meet(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@given(st.floats(1e-6, 1e6), st.floats(1.3, 1e6))
@settings(max_examples=80, deadline=None)
def test_ticks_are_few_and_inside(low, ratio):
    for ticks, high in ((log_ticks(low, low * ratio), low * ratio), (even_ticks(low, low + ratio), low + ratio)):
        assert len(ticks) <= 5
        slack = 1e-6 * (high - low)
        assert all(low - slack <= tick <= high + slack for tick in ticks)
        assert ticks == sorted(ticks)


grids = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).normal(size=(7, 9)))


@given(grids, st.floats(-1, 1))
@settings(max_examples=60, deadline=None)
def test_outlines_hold_what_is_below(heights, level):
    outlines = below(heights, level)
    for row in range(1, 6):  # the border itself belongs to the outlines
        for column in range(1, 8):
            crossings = sum(_crossings(outline, column, row) for outline in outlines)
            assert crossings % 2 == (heights[row, column] < level)


def _crossings(outline, x, y):
    """Count how often a ray to the right, a little tilted, crosses a closed outline."""
    tilt = 1.37e-4
    up = outline[:, 1] - y - tilt * (outline[:, 0] - x)
    after, x_after = np.roll(up, -1), np.roll(outline[:, 0], -1)
    crosses = (up > 0) != (after > 0)
    part = up[crosses] / (up[crosses] - after[crosses])
    return int((outline[:, 0][crosses] + part * (x_after - outline[:, 0])[crosses] > x).sum())


def test_a_thinned_outline_stays_where_it_was():
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = 100 * np.column_stack([np.cos(angles), np.sin(angles)])
    found = thin(circle, 0.1)
    assert len(found) < 150
    assert np.allclose(np.hypot(*found.T), 100)
