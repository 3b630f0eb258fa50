import itertools

import pytest
from traces import chain, doubling, named, recurrent_net, residual_net, seed_net

from tinygrad_batch.draw import draw
from tinygrad_batch.draw.compose import compose
from tinygrad_batch.draw.layout import line_width, place
from tinygrad_batch.draw.measure import fit, width, wrap
from tinygrad_batch.languages import language
from tinygrad_batch.trace import Trace

LONG = "a_very_long_name_that_nobody_would_give_but_somebody_does_" * 3
TRACES = {
    "seed": seed_net(),
    "forward": seed_net(backward=False),
    "no update": seed_net(update=False),
    "residual": residual_net(blocks=6),
    "recurrent": recurrent_net(times=12),
    "doubling": doubling(20),
    "chain": chain(120),
    "long names": named(LONG),
    "wide letters": named("漢字" * 40),
    "right to left": named("שלום עולם " * 12),
    "empty": Trace(),
}


@pytest.fixture(params=itertools.product(TRACES, ("ops", "modules"), ("en", "zh")), ids=" ".join)
def placed(request):
    name, depth, lang = request.param
    return place(compose(TRACES[name], depth, words=language(lang)))


def test_boxes_do_not_overlap(placed):
    columns = {}
    for box in placed.boxes.values():
        columns.setdefault(box.box.column, []).append(box)
    right = 0
    for column in sorted(columns):
        boxes = columns[column]
        assert min(box.x for box in boxes) > right
        right = max(box.x + box.w for box in boxes)
        for above, below in itertools.pairwise(boxes):
            assert above.y + above.h < below.y
    assert right < placed.width
    assert all(box.y + box.h < placed.height for box in placed.boxes.values())


def test_text_fits_its_box(placed):
    for box in placed.boxes.values():
        for line in box.lines:
            assert box.cell + line_width(line) <= box.w - 10
    for frame in [*placed.columns, *placed.groups]:
        assert width(frame.bold, 13, True) + width(frame.plain, 12 if frame.bold else 11) < frame.w


def test_boxes_lie_in_the_frame_of_their_column(placed):
    for box in placed.boxes.values():
        assert any(
            frame.x < box.x
            and box.x + box.w < frame.x + frame.w
            and frame.y < box.y
            and box.y + box.h < frame.y + frame.h
            for frame in placed.columns
        )


def test_frames_of_layers_do_not_cross(placed):
    frames = placed.groups
    for i, a in enumerate(frames):
        for b in frames[i + 1 :]:
            apart = a.y + a.h <= b.y or b.y + b.h <= a.y or a.x + a.w <= b.x or b.x + b.w <= a.x
            inside = a.x < b.x and b.x + b.w < a.x + a.w and a.y < b.y and b.y + b.h < a.y + a.h
            assert apart or inside


def test_lines_run_along_the_axes_and_not_through_boxes(placed):
    for edge in placed.edges:
        ends = {edge.edge.tail, edge.edge.head}
        for (x0, y0), (x1, y1) in zip(edge.points, edge.points[1:], strict=False):
            assert x0 == x1 or y0 == y1
            if x0 != x1:
                continue
            for box in placed.boxes.values():
                if box.box.id not in ends and box.x < x0 < box.x + box.w:
                    assert max(y0, y1) <= box.y or min(y0, y1) >= box.y + box.h


def test_labels_of_lines_fit_their_lines(placed):
    for edge in placed.edges:
        if edge.edge.kind in ("kept", "start"):
            assert width(edge.label, 10.5) <= abs(edge.points[-1][0] - edge.points[0][0])


def test_a_line_without_a_lane_becomes_a_stub():
    # Every operation reads the first one: one bus. Every pair crosses: more lanes than there are.
    from traces import Builder

    b = Builder(2)
    values = []
    for k in range(40):
        out = b.value(f"v{k}", "activation", [[1.0], [1.0]])
        reads = [values[-1]] if values else []
        if k >= 20:
            reads.append(values[k - 20])
        b.step("forward", "add", reads, [(out, f"v{k} = …")])
        values.append(out)
    placed = place(compose(b.trace(), "ops"))
    stubs = [edge for edge in placed.edges if edge.edge.kind == "forward" and edge.label]
    assert stubs
    assert all(len(edge.points) == 2 for edge in stubs)


def test_text_is_measured_and_cut():
    assert fit("short", 100, 11) == "short"
    for text in ("W" * 200, "漢" * 200, "é" * 200, "\u2068" + "ש" * 200 + "\u2069"):
        cut = fit(text, 80, 11)
        assert width(cut, 11) <= 80
        assert "…" in cut
        assert cut.count("\u2068") == cut.count("\u2069")
    assert width("漢", 10) >= 10
    assert fit("anything", 0, 11) == ""
    assert all(width(line, 11) <= 100 for line in wrap(["a", "W" * 99, "few", "words"], 100, 11))


def test_deep_graphs_are_drawn():
    """A shared node is drawn once, and a picture grows with its graph; `tests/benchmarks` has the time it takes."""
    doubled = draw(doubling(60), depth="ops")
    assert doubled._scene.rows == 61
    assert doubled.svg().rstrip().endswith("</svg>")
    short, long = (draw(chain(ops), depth="ops") for ops in (1_250, 5_000))
    assert (short._scene.rows, long._scene.rows) == (1_251, 5_001)
    assert len(long.svg()) < 4.5 * len(short.svg())
    assert draw(chain(5_000))._scene.rows < 100  # folded


def test_a_title_of_any_length_stays_in_the_picture():
    drawing = draw(seed_net(), title="w" * 1_000)
    placed = drawing._placed
    assert width(placed.title, 22, True) <= placed.width
