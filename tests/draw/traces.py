"""Traces built by hand, so that the pictures are tested without the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_batch.trace import Layer, Phase, Result, Role, Statistics, Step, Trace, Value


class Builder:
    """Writes a Trace step by step; `value` and `step` return what they made."""

    def __init__(self, rows: int | None = None, layers: Sequence[Layer] = ()) -> None:
        self.rows = rows
        self.layers = tuple(layers)
        self.values: list[Value] = []
        self.steps: list[Step] = []

    def value(
        self, name: str, role: Role, array: object, note: str = "", path: str = "", of: Value | None = None
    ) -> Value:
        a = np.asarray(array)
        finite = a[np.isfinite(a)] if a.dtype.kind == "f" else a.astype(float)
        statistics = None
        if finite.size:
            numbers = (finite.mean(), finite.std(), finite.min(), finite.max(), np.sqrt((finite**2).sum()))
            statistics = Statistics(*(float(n) for n in numbers), int(a.size - finite.size))
        table = a.reshape(a.shape[0] if a.ndim > 1 else 1, -1) if a.size else np.zeros((0, 0))
        value = Value(
            id=len(self.values),
            name=name,
            role=role,
            note=note,
            path=path,
            shape=a.shape,
            dtype=str(a.dtype),
            nbytes=a.nbytes,
            per_row=bool(a.shape) and a.shape[0] == self.rows and role != "parameter",
            item=float(a) if a.ndim == 0 and role == "activation" else None,
            statistics=statistics,
            thumbnail=tuple(tuple(float(v) for v in row[:20]) for row in table[:20]),
            gradient_of=None if of is None else of.id,
        )
        self.values.append(value)
        return value

    def step(
        self,
        phase: Phase,
        op: str,
        inputs: Sequence[Value],
        results: Sequence[tuple[Value, str]],
        keeps: Sequence[Value] = (),
        module: str = "",
        forward: int | None = None,
        flops: int = 0,
    ) -> int:
        number = len(self.steps) + 1
        self.steps.append(
            Step(
                number,
                phase,
                op,
                tuple(v.id for v in inputs),
                tuple(Result(v.id, formula) for v, formula in results),
                tuple(v.id for v in keeps),
                module,
                forward,
                flops,
            )
        )
        return number

    def trace(self) -> Trace:
        return Trace(tuple(self.values), tuple(self.steps), self.layers, self.rows)


class _Net:
    """A net of matmul, add, tanh and sub, square, mean, with its gradients by hand."""

    def __init__(self, rows: int, layers: Sequence[Layer], seed: int = 0, lr: float = 0.05) -> None:
        self.b = Builder(rows, layers)
        self.random = np.random.default_rng(seed)
        self.lr = lr
        self.arrays: dict[int, np.ndarray] = {}
        self.tape: list[tuple[str, int, tuple[Value, ...], Value, str]] = []
        self.gradients: dict[int, tuple[Value, np.ndarray]] = {}

    def source(self, name: str, role: Role, array: np.ndarray, note: str, path: str = "") -> Value:
        value = self.b.value(name, role, array, note, path)
        self.arrays[value.id] = array
        return value

    def op(self, op: str, name: str, *inputs: Value, module: str = "") -> Value:
        a = [self.arrays[v.id] for v in inputs]
        n = [v.name for v in inputs]
        array, formula, keeps = {
            "matmul": lambda: (a[0] @ a[1], f"{n[0]} @ {n[1]}", inputs),
            "add": lambda: (a[0] + a[1], f"{n[0]} + {n[1]}", ()),
            "sub": lambda: (a[0] - a[1], f"{n[0]} − {n[1]}", ()),
            "tanh": lambda: (np.tanh(a[0]), f"tanh({n[0]})", None),
            "square": lambda: (a[0] ** 2, f"{n[0]}²", inputs),
            "mean": lambda: (a[0].mean(), f"mean({n[0]})", ()),
        }[op]()
        out = self.source(name, "activation", np.asarray(array), "")
        kept = (out,) if keeps is None else keeps
        number = self.b.step("forward", op, inputs, [(out, f"{name} = {formula}")], kept, module)
        self.tape.append((op, number, inputs, out, module))
        return out

    def backward(self) -> None:
        loss = self.tape[-1][3]
        seed = self.b.value("d" + loss.name, "gradient", np.ones(()), of=loss)
        self.gradients[loss.id] = (seed, np.ones(()))
        for op, number, inputs, out, module in reversed(self.tape):
            if out.id not in self.gradients:
                continue
            dv, g = self.gradients[out.id]
            a = [self.arrays[v.id] for v in inputs]
            n = [v.name for v in inputs]
            rules = self._rules(op, g, dv.name, a, n, out)
            results = []
            for v, (d, formula) in zip(inputs, rules, strict=True):
                if v.role in ("data", "constant"):
                    continue
                if d.shape != v.shape:
                    d, formula = d.sum(0), f"sum over rows of {formula}"
                if v.id in self.gradients:
                    old, total = self.gradients[v.id]
                    self.gradients[v.id] = (old, total + d)
                    results.append((old, f"{old.name} += {formula}"))
                else:
                    dvalue = self.b.value("d" + v.name, "gradient", d, of=v)
                    self.gradients[v.id] = (dvalue, d)
                    results.append((dvalue, f"{dvalue.name} = {formula}"))
            if results:
                self.b.step("backward", op, [dv], results, module=module, forward=number)

    def _rules(
        self, op: str, g: np.ndarray, dv: str, a: list[np.ndarray], n: list[str], out: Value
    ) -> list[tuple[np.ndarray, str]]:
        if op == "matmul":
            return [(g @ a[1].T, f"{dv} @ {n[1]}ᵀ"), (a[0].T @ g, f"{n[0]}ᵀ @ {dv}")]
        return {
            "add": lambda: [(g, dv), (g, dv)],
            "sub": lambda: [(g, dv), (-g, f"−{dv}")],
            "tanh": lambda: [(g * (1 - self.arrays[out.id] ** 2), f"{dv} * (1 - {out.name}²)")],
            "square": lambda: [(2 * a[0] * g, f"2 {n[0]} * {dv}")],
            "mean": lambda: [(np.full_like(a[0], g / a[0].size), f"{dv} / {a[0].size}")],
        }[op]()

    def update(self) -> None:
        pairs = [
            (v, self.gradients[v.id][0]) for v in self.b.values if v.role == "parameter" and v.id in self.gradients
        ]
        formulas = [(p, f"{p.name} ← {p.name} − {self.lr} {g.name}") for p, g in pairs]
        self.b.step("update", "SGD", [g for _, g in pairs], formulas)

    def parameter(self, name: str, *shape: int, path: str = "") -> Value:
        array = self.random.normal(size=shape) / np.sqrt(shape[0]) if len(shape) > 1 else np.zeros(shape)
        return self.source(name, "parameter", array, "weights" if len(shape) > 1 else "bias", path)


def seed_net(
    rows: int = 100, backward: bool = True, update: bool = True, widths: Sequence[int] = (10, 15, 10, 1)
) -> Trace:
    """``10 → 15 → 10 → 1`` with tanh and mean squared error."""
    count = len(widths) - 1
    layers: list[Layer] = [Layer("", "Sequential", "Sequential")]
    for k in range(count):
        layers.append(Layer(str(2 * k), "Linear", f"Linear({widths[k]} → {widths[k + 1]})"))
        if k < count - 1:
            layers.append(Layer(str(2 * k + 1), "Tanh", "Tanh"))
    net = _Net(rows, [*layers, Layer("loss", "MSELoss", "MSELoss")])
    data = np.random.default_rng(7).normal(size=(rows, widths[0]))
    h = x = net.source("x", "data", data, "input rows")
    y = net.source("y", "data", np.sin(data[:, :1]) + 0.3, "target values")
    parameters = [
        (
            net.parameter(f"W{k + 1}", widths[k], widths[k + 1], path=f"{2 * k}.weight"),
            net.parameter(f"b{k + 1}", widths[k + 1]),
        )
        for k in range(count)
    ]
    assert x is h
    for k, (w, b) in enumerate(parameters, 1):
        m = net.op("matmul", f"m{k}", h, w, module=str(2 * k - 2))
        last = k == count
        z = net.op("add", "pred" if last else f"z{k}", m, b, module=str(2 * k - 2))
        h = z if last else net.op("tanh", f"h{k}", z, module=str(2 * k - 1))
    e = net.op("sub", "e", h, y, module="loss")
    q = net.op("square", "q", e, module="loss")
    net.op("mean", "loss", q, module="loss")
    if backward:
        net.backward()
        if update:
            net.update()
    return net.b.trace()


def residual_net(rows: int = 20, blocks: int = 3) -> Trace:
    """A stem, residual blocks and a head; the gradient of each ``h`` is a sum of two."""
    layers = [Layer("stem", "Linear", "Linear(12 → 12)")]
    for k in range(1, blocks + 1):
        layers += [
            Layer(f"blocks.{k}", "Block", "Block"),
            Layer(f"blocks.{k}.fc", "Linear", "Linear(12 → 12)"),
            Layer(f"blocks.{k}.act", "Tanh", "Tanh"),
        ]
    layers += [Layer("head", "Linear", "Linear(12 → 1)"), Layer("loss", "MSELoss", "MSELoss")]
    net = _Net(rows, layers, seed=1)
    data = net.random.normal(size=(rows, 12))
    x = net.source("x", "data", data, "input rows")
    y = net.source("y", "data", data[:, :1] ** 2, "target values")
    h = net.op("matmul", "h0", x, net.parameter("W0", 12, 12), module="stem")
    for k in range(1, blocks + 1):
        m = net.op("matmul", f"m{k}", h, net.parameter(f"W{k}", 12, 12), module=f"blocks.{k}.fc")
        a = net.op("tanh", f"a{k}", m, module=f"blocks.{k}.act")
        h = net.op("add", f"h{k}", a, h, module=f"blocks.{k}")
    pred = net.op("matmul", "pred", h, net.parameter("Wo", 12, 1), module="head")
    e = net.op("sub", "e", pred, y, module="loss")
    q = net.op("square", "q", e, module="loss")
    net.op("mean", "loss", q, module="loss")
    net.backward()
    net.update()
    return net.b.trace()


def recurrent_net(rows: int = 8, times: int = 4) -> Trace:
    """One weight matrix used at every time: its gradient is a sum of many."""
    net = _Net(rows, [Layer("cell", "Cell", "Cell(6)"), Layer("loss", "MSELoss", "MSELoss")], seed=2)
    h = net.source("h0", "data", net.random.normal(size=(rows, 6)), "first state")
    y = net.source("y", "data", net.random.normal(size=(rows, 6)), "target values")
    w = net.parameter("W", 6, 6)
    for t in range(1, times + 1):
        m = net.op("matmul", f"m{t}", h, w, module="cell")
        h = net.op("tanh", f"h{t}", m, module="cell")
    e = net.op("sub", "e", h, y, module="loss")
    q = net.op("square", "q", e, module="loss")
    net.op("mean", "loss", q, module="loss")
    net.backward()
    net.update()
    return net.b.trace()


def doubling(times: int = 60) -> Trace:
    """``x + x``, again and again: two paths at each step."""
    net = _Net(4, ())
    h = net.parameter("w", 4, 1)
    for k in range(times):
        h = net.op("add", f"x{k + 1}", h, h)
    net.op("mean", "loss", h)
    net.backward()
    return net.b.trace()


def chain(ops: int, backward: bool = True, modules: bool = False) -> Trace:
    """A long chain of tanh, each reading the one before and now and then one from long before."""
    layers = [Layer(str(k), "Tanh", "Tanh") for k in range(ops)] if modules else []
    net = _Net(4, layers)
    history = [net.op("matmul", "h0", net.source("x", "data", np.ones((4, 2)), "input rows"), net.parameter("W", 2, 2))]
    for k in range(1, ops - 1):
        module = str(k) if modules else ""
        if k % 7 == 0 and not modules:
            history.append(net.op("add", f"h{k}", history[-1], history[-5]))
        else:
            history.append(net.op("tanh", f"h{k}", history[-1], module=module))
    net.op("mean", "loss", history[-1])
    if backward:
        net.backward()
        net.update()
    return net.b.trace()


def named(name: str) -> Trace:
    """A small batch in which every piece of text is `name`."""
    b = Builder(2, [Layer("a", name, name)])
    x = b.value(name, "data", np.ones((2, 2)), name)
    w = b.value(name, "parameter", np.ones((2, 1)), name, name)
    out = b.value(name, "activation", np.ones(()), name)
    b.step("forward", name, [x, w], [(out, f"{name} = {name}")], [x, w], "a")
    start = b.value(name, "gradient", np.ones(()), name, of=out)
    dw = b.value(name, "gradient", np.ones((2, 1)), name, of=w)
    b.step("backward", name, [start], [(dw, f"{name} = {name}")], (), "a", 1)
    b.step("update", name, [dw], [(w, f"{name} ← {name}")])
    return b.trace()
