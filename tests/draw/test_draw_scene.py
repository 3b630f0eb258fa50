import pytest
from traces import Builder, chain, doubling, recurrent_net, residual_net, seed_net

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.draw.compose import compose
from tinygrad_batch.draw.fold import OPS_LIMIT, ROWS_LIMIT, units
from tinygrad_batch.draw.lanes import assign
from tinygrad_batch.draw.layout import place
from tinygrad_batch.draw.reading import Reading
from tinygrad_batch.draw.scene import BACKWARD, FORWARD, LEFT, RIGHT
from tinygrad_batch.trace import Layer, Trace


def words(box):
    return [" ".join(run.text for run in line if run.text) for line in box.lines]


def by_id(scene):
    return {box.id: box for box in scene.boxes}


def test_the_seed_net_says_what_the_design_says():
    scene = compose(seed_net())
    boxes = by_id(scene)
    assert scene.title == "One batch: forward, backward, update"
    assert "10 → 15 → 10 → 1 with tanh, mean squared error" in scene.subtitle
    assert "Read the numbers 1 to 23 in order." in scene.subtitle
    assert words(boxes["f1"]) == ["matmul m1 = x @ W1", "100 × 15   12.0 kB"]
    assert words(boxes["b22"]) == ["only dW1 is needed", "x is data: no dx is computed"]
    assert words(boxes["b20"])[0] == "dz1 = dh1 * (1 - h1²)"
    assert words(boxes["u2"]) == ["dW1 = xᵀ @ dm1 10 × 15", "W1 ← W1 − 0.05 dW1"]
    assert boxes["f11"].kind == "loss"
    assert words(boxes["f11"])[1].startswith("loss = 0.")
    assert [group.label for group in scene.groups] == ["Linear1", "Tanh1", "Linear2", "Tanh2", "Linear3", "MSELoss"]
    assert scene.headings[RIGHT].plain == "step 23: SGD"


def test_a_backward_step_stands_beside_its_operation():
    trace = seed_net()
    boxes = by_id(compose(trace))
    for step in trace.phase("backward"):
        assert boxes[f"b{step.number}"].row == boxes[f"f{step.forward}"].row


def test_data_on_top_and_beside():
    boxes = by_id(compose(seed_net()))
    assert (boxes["d0"].column, boxes["d0"].row) == (FORWARD, 0)
    assert (boxes["d1"].column, boxes["d1"].row) == (LEFT, boxes["f9"].row)


def test_the_edges_of_the_seed_net():
    edges = {(edge.tail, edge.head): edge for edge in compose(seed_net()).edges}
    assert edges["f1", "b22"].label == "keeps x, W1"
    assert edges["f11", "b12"].label == "start: dloss = 1"
    assert edges["f11", "b12"].kind == "start"
    assert edges["b22", "u2"].kind == "backward"
    assert edges["b21", "b22"].kind == "backward"


def test_the_footer_gives_bytes_for_other_batches():
    text = " ".join(words for _, _, words in compose(seed_net()).footer)
    assert "x, h1, h2, e = 28.8 kB" in text
    assert "10 rows would keep 2.9 kB, 10,000 rows 2.9 MB" in text
    assert "336 numbers, 2.7 kB" in text
    assert "dW1 means ∂loss/∂W1" in text


def test_before_backward_there_is_no_gradient():
    scene = compose(seed_net(backward=False))
    assert scene.title == "One batch: forward"
    assert RIGHT not in scene.headings
    assert [words(box)[0] for box in scene.column(BACKWARD)] == ["no gradient yet"]
    assert any(edge.head is None and edge.label == "keeps x, W1" for edge in scene.edges)


def test_before_the_update_gradients_have_a_column():
    scene = compose(seed_net(update=False))
    assert scene.headings[RIGHT].bold == "GRADIENTS"
    boxes = by_id(scene)
    assert words(boxes["u2"]) == ["dW1 = xᵀ @ dm1 10 × 15", "1.2 kB"]


def test_a_sum_of_contributions_says_so():
    texts = [line for box in compose(residual_net()).column(BACKWARD) for line in words(box)]
    assert sum("sum of 2" in text for text in texts) == 3
    assert any(text.startswith("dh0 +=") for text in texts)
    (box,) = compose(recurrent_net(times=4)).column(RIGHT)
    assert "sum of 4" in words(box)[0]


def test_a_parameter_used_many_times_has_one_box():
    scene = compose(recurrent_net(times=5))
    assert sum(box.kind == "parameter" for box in scene.boxes) == 1
    assert sum(edge.kind == "parameter" for edge in scene.edges) == 5
    assert sum(edge.head == "u2" for edge in scene.edges) == 5


def test_calls_of_one_layer_get_a_frame_each():
    assert [group.label for group in compose(recurrent_net(times=3)).groups] == ["Cell"] * 3 + ["MSELoss"]


def test_layers_in_layers():
    groups = compose(residual_net()).groups
    assert [group.label for group in groups if group.level == 0] == [
        "Linear1",
        "Block1",
        "Block2",
        "Block3",
        "Linear5",
        "MSELoss",
    ]
    assert [group.label for group in groups if group.level == 1][:2] == ["Linear2", "Tanh1"]


def test_folding_writes_one_row_per_layer():
    scene = compose(seed_net(), "modules")
    boxes = by_id(scene)
    assert [words(box)[0] for box in scene.column(FORWARD)] == [
        "x input rows",
        "Linear(10 → 15), tanh h1",
        "Linear(15 → 10), tanh h2",
        "Linear(10 → 1) pred",
        "MSELoss loss",
    ]
    assert [box.number for box in scene.column(BACKWARD)] == ["8", "7", "6", "5"]
    assert words(boxes["p2"]) == ["W1, b1", "165   1.3 kB"]
    assert words(boxes["u2"])[1] == "W1, b1 ← W1, b1 − 0.05 dW1, db1"
    assert scene.headings[RIGHT].plain == "step 9: SGD"
    kept = [edge.label for edge in scene.edges if edge.kind == "kept"]
    assert kept == ["keeps x, h1", "keeps h1, h2", "keeps h2", "keeps e"]


def test_auto_folds_when_there_are_many_operations():
    assert not compose(chain(OPS_LIMIT)).folded
    wide = compose(chain(300, modules=True))
    assert wide.folded
    assert wide.rows <= ROWS_LIMIT + 1
    assert compose(chain(300), "ops").rows == 301


def test_too_many_rows_become_one():
    scene = compose(chain(2_000))
    (hidden,) = (box for box in scene.column(FORWARD) if box.kind == "hidden")
    assert "more rows" in words(hidden)[0]
    rows, folded = units(Reading(chain(2_000)))
    assert folded
    assert sum(len(row.forward) for row in rows) == 2_000
    assert len(rows) == ROWS_LIMIT


def test_every_edge_ends_at_a_box():
    for trace in (seed_net(), residual_net(), recurrent_net(), doubling(9), chain(500)):
        for depth in ("ops", "modules", "auto"):
            scene = compose(trace, depth)
            boxes = by_id(scene)
            assert len(boxes) == len(scene.boxes)
            for edge in scene.edges:
                assert edge.tail in boxes
                assert edge.head is None or edge.head in boxes
            shown = {box for beat in scene.beats for box in beat.boxes}
            assert shown <= set(boxes)
            assert [beat.number for beat in scene.beats] == list(range(1, len(scene.beats) + 1))


def test_names_do_not_matter():
    b = Builder(3)
    x = b.value("q", "data", [[1.0]] * 3)
    w = b.value("k", "parameter", [[2.0]])
    z = b.value("r", "activation", [[2.0]] * 3)
    b.step("forward", "matmul", [x, w], [(z, "r = q @ k")], [x, w])
    g = b.value("start", "gradient", [[1.0]] * 3, of=z)
    dw = b.value("slope", "gradient", [[3.0]], of=w)
    b.step("backward", "matmul", [g], [(dw, "slope = qᵀ @ start")], forward=1)
    boxes = by_id(compose(b.trace()))
    assert words(boxes["b2"]) == ["only slope is needed", "q is data: no gradient is computed"]
    assert words(boxes["u1"])[0] == "slope = qᵀ @ start 1 × 1"


def test_a_number_in_a_formula_needs_no_box():
    b = Builder(3)
    x = b.value("x", "data", [[1.0]] * 3)
    two = b.value("2", "constant", 2.0)
    y = b.value("y", "activation", [[2.0]] * 3)
    b.step("forward", "mul", [x, two], [(y, "y = x * 2")])
    assert {box.id for box in compose(b.trace()).boxes} == {"d0", "f1", "note"}


def test_a_constant_in_many_places():
    b = Builder(3)
    h = b.value("x", "data", [[1.0]] * 3)
    c = b.value("mask", "constant", [[1.0]] * 3)
    for k in range(30):
        y = b.value(f"y{k}", "activation", [[2.0]] * 3)
        b.step("forward", "mul", [h, c], [(y, f"y{k} = … * mask")])
        h = y
    scene = compose(b.trace())
    assert sum(box.kind == "data" for box in scene.boxes) == 2
    assert sum(edge.tail == "d1" for edge in scene.edges) == 30


def test_a_backward_step_without_an_operation_has_its_own_row():
    b = Builder(1)
    g = b.value("g", "gradient", [1.0])
    d = b.value("d", "gradient", [1.0])
    b.step("backward", "neg", [g], [(d, "d = −g")])
    scene = compose(b.trace())
    assert [box.id for box in scene.boxes] == ["b1"]
    assert compose(Trace(layers=(Layer("a", "A", "A"),))).boxes == []


@pytest.mark.parametrize("most", [1, 2, 5])
def test_lanes_never_overlap(most):
    spans = {i: ((i * 7) % 13, (i * 7) % 13 + 1 + (i * 5) % 11) for i in range(60)}
    lanes = assign(spans, most)
    assert set(lanes.values()) <= set(range(most))
    for a, lane in lanes.items():
        for b, other in lanes.items():
            if a < b and lane == other:
                assert spans[a][1] <= spans[b][0] or spans[b][1] <= spans[a][0]


def test_an_update_of_several_formulas_shows_the_one_of_the_parameter():
    b = Builder(3)
    x = b.value("x", "data", [[1.0]] * 3)
    w = b.value("W", "parameter", [[2.0]])
    z = b.value("z", "activation", [[2.0]] * 3)
    b.step("forward", "matmul", [x, w], [(z, "z = x @ W")], [x, w])
    dz = b.value("dz", "gradient", [[1.0]] * 3, of=z)
    dw = b.value("dW", "gradient", [[3.0]], of=w)
    b.step("backward", "matmul", [dz], [(dw, "dW = zeros[…] += xᵀ @ dz")], forward=1)
    b.step("update", "Momentum", [dw], [(w, "m ← 0.9 m + dW; W ← W − 0.1 m")])
    scene = compose(b.trace())
    assert words(by_id(scene)["u1"]) == ["dW = zeros[…] += xᵀ @ dz 1 × 1", "W ← W − 0.1 m"]
    assert "Momentum: W ← W − 0.1 m" in scene.subtitle


def test_containers_get_no_frame_and_their_own_operations_a_row_each():
    trace = residual_net()
    layers = (Layer("blocks", "Sequential", "Sequential"), *trace.layers)
    trace = Trace(trace.values, trace.steps, layers, trace.rows)
    assert "Sequential" not in [group.label for group in compose(trace).groups]
    folded = compose(trace, "modules")
    firsts = [words(box)[0] for box in folded.column(FORWARD)]
    assert firsts[2:4] == ["Linear(12 → 12), tanh a1", "add h1 = a1 + h0"]
    assert [group.label for group in folded.groups] == ["Block1", "Block2", "Block3"]


def test_a_long_formula_is_broken_into_lines_and_not_cut():
    with tb.capture() as trace:
        nn.CrossEntropyLoss()(nn.Linear(4, 3, rng=0)(tb.ones(5, 4)), [0, 1, 2, 0, 1]).backward()
    scene = compose(trace)
    logarithm = next(box for box in scene.boxes if words(box)[0].startswith("log_softmax"))
    assert words(logarithm)[:2] == ["log_softmax", "logp = log_softmax(pred, axis=1)"]
    slope = next(box for box in scene.boxes if words(box)[0].startswith("dpred"))
    assert " ".join(words(slope)[:2]) == "dpred = dlogp - exp(logp) * sum(dlogp, axis=1, keepdims=True)"
    placed = place(scene)
    assert not any("…" in run.text for box in placed.boxes.values() for line in box.lines for run in line)


def test_what_the_loss_computes_itself_is_no_activation_of_the_net():
    with tb.capture() as trace:
        net = nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU(), nn.Linear(3, 2, rng=1))
        nn.CrossEntropyLoss()(net(tb.ones(2, 4)), [0, 1]).backward()
    assert compose(trace).subtitle.startswith("2 rows, 4 → 3 → 2 with relu, cross-entropy")
