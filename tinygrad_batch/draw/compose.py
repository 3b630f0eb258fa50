"""Trace to scene: which boxes there are, where they stand, and what runs between them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tinygrad_batch.draw import wording
from tinygrad_batch.draw.fold import Depth, Unit, calls, units
from tinygrad_batch.draw.reading import Reading, ancestors, number_text
from tinygrad_batch.draw.scene import (
    BACKWARD,
    FORWARD,
    LEFT,
    RIGHT,
    Beat,
    Box,
    Edge,
    EdgeKind,
    Group,
    Heading,
    Run,
    Scene,
)
from tinygrad_batch.escape import clean
from tinygrad_batch.languages import Language
from tinygrad_batch.languages.english import ENGLISH
from tinygrad_batch.memory import memory
from tinygrad_batch.trace import Result, Step, Trace

__all__ = ["compose"]

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


def compose(trace: Trace, depth: Depth = "auto", title: str | None = None, words: Language = ENGLISH) -> Scene:
    """Return the scene of one batch.

    Examples
    --------
    >>> compose(Trace()).title
    'One batch'
    """
    return _Composer(trace, depth, words).scene(title)


class _Composer:
    def __init__(self, trace: Trace, depth: Depth, words: Language) -> None:
        self.reading = Reading(trace, words)
        self.words = words.picture
        self.trace = trace
        self.units, self.folded = units(self.reading, depth)
        self.boxes: list[Box] = []
        self.edges: dict[tuple[str, str | None, EdgeKind], Edge] = {}
        self.sources: dict[int, str] = {}  # value id -> box of a parameter or of data
        self.forward_box: dict[int, str] = {}  # step number -> box, for forward and for backward steps
        self.backward_box: dict[int, str] = {}
        self.gradient_box: dict[int, str] = {}  # gradient value id -> box in the last column
        self.numbers = self._numbers()
        self.updated = bool(trace.phase("update"))
        self.top = self._top_data()

    def _numbers(self) -> dict[int, int]:
        """Number the boxes: by step, or where rows are folded by row, in the order they run."""
        if not self.folded:
            return {step.number: step.number for step in self.trace.steps}
        runs = [[s.number for s in side] for unit in self.units for side in (unit.forward, unit.backward) if side]
        updates = [step.number for step in self.trace.phase("update")]
        runs += [
            [number for _, number in run] for _, run in groupby(enumerate(updates), key=lambda pair: pair[1] - pair[0])
        ]
        return {number: i for i, run in enumerate(sorted(runs), 1) for number in run}

    def _top_data(self) -> int | None:
        if not self.units or not self.units[0].forward:
            return None
        for i in self.units[0].forward[0].inputs:
            value = self.reading.values[i]
            if value.role != "parameter" and i not in self.reading.producer and not self.reading.is_plain_number(value):
                return i
        return None

    def scene(self, title: str | None) -> Scene:
        offset = 0
        if self.top is not None:
            self._source([self.top], FORWARD, 0)
            offset = 1
        for row, unit in enumerate(self.units, offset):
            self._forward(unit, row)
            self._backward(unit, row)
        self._gradients(offset)
        for unit in self.units:
            self._connect(unit)
        has_backward = bool(self.backward_box)
        if not has_backward and self.units:
            lines = ((Run(self.words.no_gradient_yet, "name"),), (Run(self.words.no_backward, "note"),))
            self.boxes.append(Box("note", "note", BACKWARD, offset + len(self.units) - 1, lines))
        held = memory(self.trace)
        footer = wording.footer(self.reading, held, has_backward) if self.units else []
        scene = Scene(
            clean(title) if title is not None else self._title(has_backward),
            clean(self._subtitle(), 400),
            self._description(has_backward),
            self._headings(has_backward),
            self.boxes,
            list(self.edges.values()),
            self._groups(offset),
            [(c, clean(head), clean(words, 600)) for c, head, words in footer],
            rows=offset + len(self.units),
            folded=self.folded,
        )
        scene.beats = self._beats()
        return scene

    # -- boxes -------------------------------------------------------------------------------------

    def _source(self, ids: list[int], column: int, row: int) -> None:
        values = [self.reading.values[i] for i in ids]
        parameter = values[0].role == "parameter"
        box = Box(
            ("p" if parameter else "d") + str(ids[0]),
            "parameter" if parameter else "data",
            column,
            row,
            wording.source_lines(self.reading, values),
            value=ids[0],
        )
        self.boxes.append(box)
        self.sources.update(dict.fromkeys(ids, box.id))

    def _forward(self, unit: Unit, row: int) -> None:
        if not unit.forward:
            return
        fresh = [i for i in self._reads(unit) if i not in self.sources and i not in self.reading.producer]
        parameters = [i for i in fresh if self.reading.values[i].role == "parameter"]
        others = [i for i in fresh if self.reading.values[i].role != "parameter"]
        together = self.folded or len(fresh) > 4
        for ids in (parameters, others):
            for part in [ids] if together and ids else [[i] for i in ids]:
                self._source(part, LEFT, row)
        first = unit.forward[0].number
        loss = self.reading.loss is not None and any(
            r.value == self.reading.loss.id for s in unit.forward for r in s.results
        )
        number = self.numbers[first]
        step = unit.forward[-1]
        box = Box(
            f"f{first}",
            "loss" if loss else "hidden" if unit.hidden else "forward",
            FORWARD,
            row,
            wording.forward_lines(self.reading, unit),
            f"{number}",
            number,
            step.results[-1].value if step.results else None,
            "forward",
        )
        self.boxes.append(box)
        self.forward_box.update((s.number, box.id) for s in unit.forward)

    def _reads(self, unit: Unit) -> list[int]:
        """Return the values that a unit reads, in order, without plain numbers."""
        reads = dict.fromkeys(i for step in unit.forward for i in step.inputs)
        return [i for i in reads if not self.reading.is_plain_number(self.reading.values[i])]

    def _backward(self, unit: Unit, row: int) -> None:
        # Steps that mirror the same operation stand above each other, the later one on top.
        parts = [(step,) for step in reversed(unit.backward)] if unit.single else [unit.backward] * bool(unit.backward)
        for steps in parts:
            number = self.numbers[steps[0].number]
            flow = [r.value for s in steps for r in s.results if self.reading.parameter_of(r.value) is None]
            box = Box(
                f"b{steps[0].number}",
                "hidden" if unit.hidden else "backward",
                BACKWARD,
                row,
                wording.backward_lines(self.reading, unit, steps),
                f"{number}",
                number,
                flow[-1] if flow else None,
                "backward",
            )
            self.boxes.append(box)
            self.backward_box.update((s.number, box.id) for s in steps)

    def _gradients(self, offset: int) -> None:
        """Put the gradient of each parameter where its last contribution is computed."""
        for row, unit in enumerate(self.units, offset):
            ready: list[tuple[Step, Result]] = []
            for step in sorted(unit.backward, key=lambda s: s.number):
                for result in self.reading.parameter_results(step):
                    if self.reading.contributions[result.value][-1] == step.number:
                        ready = [pair for pair in ready if pair[1].value != result.value]
                        ready.append((step, result))
            if len(unit.forward) > 1:  # folded: in the order of the parameters, weights before bias
                ready.sort(key=lambda pair: self.reading.target[pair[1].value])
            together = self.folded or len(ready) > 4
            for pairs in [ready] if together and ready else [[pair] for pair in ready]:
                parameter = self.reading.target[pairs[0][1].value]
                box = Box(
                    f"u{parameter}" if f"u{parameter}" not in self.gradient_box.values() else f"u{parameter}_{row}",
                    "gradient",
                    RIGHT,
                    row,
                    wording.gradient_lines(self.reading, pairs, self.updated),
                    step=self.numbers[pairs[0][0].number],
                    value=pairs[0][1].value,
                    phase="backward",
                )
                self.boxes.append(box)
                self.gradient_box.update((result.value, box.id) for _, result in pairs)

    # -- edges -------------------------------------------------------------------------------------

    def _edge(self, tail: str, head: str | None, kind: EdgeKind, label: str = "", value: int = -1) -> None:
        if tail != head:
            self.edges.setdefault((tail, head, kind), Edge(tail, head, kind, clean(label), value))

    def _connect(self, unit: Unit) -> None:
        box = self.forward_box[unit.forward[0].number] if unit.forward else None
        if box is not None:
            for i in self._reads(unit):
                made = self.reading.producer.get(i)
                if made is not None and made < unit.forward[-1].number:
                    self._edge(self.forward_box[made], box, "forward", value=i)
                elif i in self.sources:
                    role = self.reading.values[i].role
                    self._edge(self.sources[i], box, "parameter" if role == "parameter" else "data", value=i)
        starts = False
        for step in unit.backward:
            here = self.backward_box[step.number]
            for gradient in step.inputs:
                makers = self._makers(gradient, step.number)
                for maker in makers:
                    self._edge(self.backward_box[maker], here, "backward", value=gradient)
                if not makers and box is not None:
                    self._edge(box, here, "start", self._start_text(gradient), gradient)
                    starts = True
            for result in self.reading.parameter_results(step):
                self._edge(here, self.gradient_box[result.value], "backward", value=result.value)
        keeps = wording.keeps_text(self.reading, unit)
        if box is not None and keeps and not (starts and not unit.single and len(unit.forward) == 1):
            self._edge(box, self.backward_box[unit.backward[0].number] if unit.backward else None, "kept", keeps)

    def _makers(self, gradient: int, before: int) -> list[int]:
        return [n for n in self.reading.contributions.get(gradient, ()) if n < before]

    def _start_text(self, gradient: int) -> str:
        value = self.reading.values[gradient]
        number = value.item
        if number is None and value.shape == ():
            number = value.statistics.mean if value.statistics is not None else 1.0
        text = f"{value.name} = {number_text(number)}" if number is not None else value.name
        return self.words.start.format(name=text)

    # -- groups, words, beats ----------------------------------------------------------------------

    def _groups(self, offset: int) -> list[Group]:
        """Frame the rows of each layer, at most two layers deep."""
        chains = list(self._chains())
        outer = [chain[0] for chain in chains if len(chain) > 1]
        if outer and outer.count(outer[0]) == len(outer) and len(outer) > 0.7 * len(chains) and len(outer) > 4:
            # A layer around nearly everything tells nothing.
            chains = [chain[1:] if chain[:1] == outer[:1] else chain for chain in chains]
        chains = [chain[:2] for chain in chains]
        groups: list[Group] = []
        first = 0
        for key, run in groupby(chains, key=lambda chain: chain[0] if chain else None):
            rows = list(run)
            if key is not None:
                inner: list[Group] = []
                start = first
                for sub, part in groupby(rows, key=lambda chain: chain[1] if len(chain) > 1 else None):
                    size = len(list(part))
                    if sub is not None:
                        inner.append(self._group(sub, start + offset, size, 1))
                    start += size
                if len(inner) == 1 and inner[0].last - inner[0].first + 1 == len(rows):
                    groups.append(Group(inner[0].label, inner[0].first, inner[0].last, 0))
                else:
                    groups += [self._group(key, first + offset, len(rows), 0), *inner]
            first += len(rows)
        return groups

    def _group(self, key: tuple[str, int], first: int, size: int, level: int) -> Group:
        label = self.reading.layer_names.get(key[0]) or self.reading.kind(key[0])
        return Group(clean(label), first, first + size - 1, level)

    def _chains(self) -> Iterator[list[tuple[str, int]]]:
        """Yield for each row the layers it lies in, outermost first, each with the number of its call."""
        steps = [unit.forward[0] for unit in self.units if unit.forward]
        deepest = max((len(ancestors(unit.path)) for unit in self.units), default=0)
        call: dict[tuple[int, int], int] = {}  # step number and level -> call
        for level in range(1, deepest + 1):
            for i, (_, run) in enumerate(calls(self.reading, steps, level)):
                call.update(((step.number, level), i) for step in run)
        for unit in self.units:
            if not unit.path or not unit.forward or unit.hidden:
                yield []
                continue
            paths = ancestors(unit.path)
            chain = [
                (path, call.get((unit.forward[0].number, level), 0))
                for level, path in enumerate(paths, 1)
                if path in self.reading.layers or (path == unit.path and not self.folded)
            ]
            # A container with layers inside says nothing that they do not say.
            yield [key for key in chain if key is chain[-1] or self.reading.kind(key[0]) not in _CONTAINERS]

    def _title(self, has_backward: bool) -> str:
        if any(unit.label and not unit.hidden for unit in self.units):
            return self.words.title_layers
        there = {"forward": bool(self.units), "backward": has_backward, "update": self.updated}
        phases = [name for phase, name in self.words.title_phases.items() if there[phase]]
        return self.words.title_of.format(phases=self.reading.words.comma.join(phases)) if phases else self.words.title

    def _subtitle(self) -> str:
        text = self.reading.subtitle()
        last = max(self.numbers.values(), default=0)
        reading = self.words.read.format(last=last) if last > 1 else ""
        return f"{text}{self.words.stop} {reading}" if text and reading else text or reading

    def _headings(self, has_backward: bool) -> dict[int, Heading]:
        headings, names = {}, self.words.headings
        columns = {box.column for box in self.boxes}
        if LEFT in columns:
            left = [box for box in self.boxes if box.column == LEFT]
            parameters = any(box.kind == "parameter" for box in left)
            data = any(box.kind == "data" for box in left)
            head = names["parameters" if parameters else "data"]
            headings[LEFT] = Heading(head, self.words.and_data if parameters and data else "", "parameter")
        if FORWARD in columns:
            where = ""
            if self.top is not None:
                start = clean(self.reading.values[self.top].name, 12)
                end = clean(self.reading.loss.name, 12) if self.reading.loss is not None else ""
                end = self.words.the_loss if end == "loss" else end
                where = (self.words.from_to if end else self.words.from_one).format(start=start, end=end)
            headings[FORWARD] = Heading(names["forward"], f"↓ {where}", "forward")
        if BACKWARD in columns:
            headings[BACKWARD] = Heading(
                names["backward"], f"↑ {self.words.chain_rule}" if has_backward else "", "backward"
            )
        if RIGHT in columns:
            update = self.trace.phase("update")
            if update:
                shown = sorted({self.numbers[step.number] for step in update})
                span = self.words.span[len(shown) > 1].format(first=shown[0], last=shown[-1])
                headings[RIGHT] = Heading(names["update"], f"{span}: {clean(update[0].op, 24)}", "parameter")
            else:
                headings[RIGHT] = Heading(names["gradients"], self.words.no_update, "parameter")
        return headings

    def _description(self, has_backward: bool) -> str:
        forward, backward = len(self.trace.phase("forward")), len(self.trace.phase("backward"))
        text = self.words.description[forward != 1].format(count=forward)
        if has_backward:
            text += "; " + self.words.description_backward[backward != 1].format(count=backward)
        if self.reading.loss is not None and self.reading.loss.item is not None:
            text += f"; {clean(self.reading.loss.name, 40)} = {number_text(self.reading.loss.item)}"
        return text + "."

    def _beats(self) -> list[Beat]:
        steps: dict[int, list[Step]] = {}
        for step in self.trace.steps:
            if step.number in self.numbers:
                steps.setdefault(self.numbers[step.number], []).append(step)
        beats = []
        for number in sorted(steps):
            boxes: dict[str, None] = {}
            for step in steps[number]:
                if step.phase == "forward":
                    boxes[self.forward_box[step.number]] = None
                elif step.phase == "backward":
                    boxes[self.backward_box[step.number]] = None
                    boxes.update((self.gradient_box[r.value], None) for r in self.reading.parameter_results(step))
                else:
                    found = (self.gradient_box.get(i) for i in step.inputs)
                    boxes.update((box, None) for box in found if box is not None)
            phase = steps[number][0].phase
            beats.append(Beat(number, phase, tuple(s.number for s in steps[number]), tuple(boxes)))
        return beats
