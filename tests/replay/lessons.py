"""Printed programs, run on their own."""

import ast
import inspect
import re

import numpy as np

ALLOWED = {"numpy", "math"}


def load(text, columns=99):
    """Return the function of a printed program, run in an empty namespace."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= ALLOWED, text
        if isinstance(node, ast.ImportFrom):
            assert node.module == "scipy.special", text
    assert max(map(len, text[text.index("def step(") :].splitlines())) <= columns, text
    namespace = {}
    exec(compile(tree, "<lesson>", "exec"), namespace)
    return namespace["step"]


def notes(step):
    """Return what the docstring says of each argument."""
    rows = re.findall(r"^    [* ] (\w+) +(\(.*?\)|number|) +(\S.*)$", step.__doc__, re.MULTILINE)
    found = {name: note for name, _, note in rows}
    assert list(inspect.signature(step).parameters) == list(found), step.__doc__
    return found


class Snapshot:
    """The state of a training before a batch, as arguments of the printed program of that batch."""

    def __init__(self, model, optimizer=None):
        self.arrays = {key: np.array(value) for key, value in model.state_dict().items()}
        self.gradients = {key: None if p.grad is None else p.grad.data.copy() for key, p in model.named_parameters()}
        self.optimizer = optimizer
        self.keys = {id(p): key for key, p in model.named_parameters()}
        self.kept = {}
        self.steps = 0
        if optimizer is not None:
            for one in optimizer._learned:
                slots = one.kept or {slot: np.zeros_like(one.array) for slot in optimizer.slots}
                self.kept[self.keys[id(one.parameter)]] = {slot: array.copy() for slot, array in slots.items()}
                self.steps = one.steps

    def arguments(self, step, *batch):
        """Return what the printed function is given, and which arrays of the training that is."""
        said, given = notes(step), {}
        batch = [getattr(part, "data", part) if not isinstance(part, np.ndarray) else part for part in batch]
        paths = {name: note.rpartition(", ")[2] for name, note in said.items()}
        keys = {name: path for name, path in paths.items() if path in self.arrays}
        counts = 0
        for name, note in said.items():
            if name in keys:
                given[name] = self.arrays[keys[name]]
            elif note.startswith("gradient from before"):
                given[name] = self.gradients[keys[name.removesuffix("_grad")]]
            elif note.startswith("kept by the optimiser"):
                slot, _, parameter = name.partition("_")
                given[name] = self.kept[keys[parameter]][slot]
            elif note.startswith("the number of this update"):
                counts += 1
                given[name] = self.steps + counts
            elif note.startswith("hyperparameter"):
                given[name] = self._number(name)
            else:
                given[name] = batch.pop(0)
        assert not batch
        return given, keys

    def _number(self, name):
        known = self.optimizer.hyperparameters()
        stem = name.rstrip("0123456789")
        value = known[stem]
        return value[(int(name[len(stem) :]) - 1) % len(value)] if isinstance(value, tuple) else value
