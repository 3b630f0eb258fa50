"""The text of a whole program in LLVM's language."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...program import Instruction, Program
from . import entry, epochs
from .choice import copied
from .loops import Loops
from .lowering import Graph
from .products import Product, write_blas
from .schedule import Node, Schedule
from .storage import Place, Storage, nbytes
from .text import Function, literal
from .values import Frame, pointer

MEMCPY = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"


class Machine(NamedTuple):
    """What the code is made for: bytes of a vector register, and how many of them there are."""

    width: int
    registers: int


class Module(NamedTuple):
    """A program as text, and what is needed to run it.

    Attributes
    ----------
    text : str
    graph : Graph
    storage : Storage
    frame : Frame
    steps : tuple of str or Instruction
        What to run, one after the other: functions of the text, and operations of NumPy.
    """

    text: str
    graph: Graph
    storage: Storage
    frame: Frame
    steps: tuple[str | Instruction, ...]


def lower(program: Program, machine: Machine, library: Callable[[Instruction], bool]) -> Module:
    """Return the text of a program."""
    graph = Graph(copied(program))
    storage = Storage(graph, Schedule(graph, library))
    frame = Frame.of(storage, entry.sizes(graph.program))
    declarations: set[str] = set()
    parts: list[str] = []
    steps: list[str | Instruction] = []
    calls: list[tuple[str, list[Place]]] = []

    def close() -> None:
        if calls:
            name = f"step{len(steps)}"
            parts.append(_caller(name, calls, frame))
            steps.append(name)
            calls.clear()

    for number, node in enumerate(storage.nodes):
        if node.what == "numpy":
            close()
            assert node.instruction is not None
            steps.append(node.instruction)
            continue
        text, places = _function(f"node{number}", node, graph, storage, frame, machine, declarations)
        parts.append(text)
        calls.append((f"node{number}", places))
    if storage.copies:
        text, places = _copies(storage, declarations)
        parts.append(text)
        calls.append(("copies", places))
    close()
    if not steps:  # nothing to compute
        parts.append(_caller("step0", [], frame))
        steps.append("step0")
    if len(steps) == 1 and isinstance(steps[0], str):
        declarations |= entry.declarations() | {MEMCPY}
        parts += [epochs.epoch_text(graph.program, frame, steps[0]), entry.enter_text(graph.program, frame, steps[0])]
        if epochs.can_run(graph.program):
            parts.append(epochs.batches_text(graph.program, frame))
    text = "\n\n".join([*sorted(declarations), *parts]) + "\n"
    return Module(text, graph, storage, frame, tuple(steps))


def _function(
    name: str, node: Node, graph: Graph, storage: Storage, frame: Frame, machine: Machine, declarations: set[str]
) -> tuple[str, list[Place]]:
    f = Function(declarations)
    used: dict[Place, None]
    if node.what == "blas":
        used = {}
        write_blas(f, storage, frame, node, used)
    elif node.what == "product":
        product = Product(f, graph, storage, frame, node, *machine)
        product.write()
        used = product.values.used
    else:
        loops = Loops(f, graph, storage, frame, node, machine.width)
        loops.write()
        used = loops.values.used
    places = list(used)
    given = ", ".join(["ptr noalias %frame", *(f"ptr noalias {pointer(p)}" for p in places)])
    return f.text(f"define internal void @{name}({given}) nounwind"), places


def _copies(storage: Storage, declarations: set[str]) -> tuple[str, list[Place]]:
    """Write what copies results to living variables at the end."""
    f = Function(declarations)
    used: dict[Place, None] = {}
    declarations.add(MEMCPY)
    for living, result in storage.copies:
        to, source = storage.places[living], storage.places[result]
        used[to] = used[source] = None
        size = nbytes(living) if living.size else 0
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {pointer(to)}, ptr {pointer(source)}, i64 {size}, i1 false)")
    places = list(used)
    given = ", ".join(["ptr noalias %frame", *(f"ptr noalias {pointer(p)}" for p in places)])
    return f.text(f"define internal void @copies({given}) nounwind"), places


def _caller(name: str, calls: list[tuple[str, list[Place]]], frame: Frame) -> str:
    """Write the function that reads the addresses from the table, and runs the nodes one after the other."""
    f = Function(set())
    known: dict[Place, str] = {}
    for node, places in calls:
        for place in places:
            if place not in known:
                entry = f.at("%frame", "i64", literal(frame.entry(place), "i64"))
                address = f.emit(f"load ptr, ptr {entry}", "ptr").text
                if place.kind == "work" and place.number:
                    address = f.at(address, "i8", literal(place.number, "i64"))
                known[place] = address
        given = ", ".join(["ptr %frame", *(f"ptr {known[p]}" for p in places)])
        f.do(f"call void @{node}({given})")
    return f.text(f"define void @{name}(ptr %frame) nounwind")
