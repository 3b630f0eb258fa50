"""Checkpoints: a training run on disk, as arrays and JSON in one safetensors file; nothing in it is code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .errors import DataError, StateError
from .files import write_whole

FORMAT = "tinygrad_batch checkpoint 1"


class Stateful(Protocol):
    """Anything with a state to save: a model, an optimiser, a data iterator."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state back."""


def save_checkpoint(path: str | os.PathLike[str], **parts: Stateful) -> Path:
    """Write the states of a model, an optimiser, a data iterator, ... to one file.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Parameters
    ----------
    path : path
        By custom ends in ``.safetensors``.
    **parts : objects with ``state_dict``
        By the names they are to be loaded under.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If the file cannot be written.
    StateError
        If a state has a key that is no string. Nothing is written then.

    Examples
    --------
    >>> import tempfile, tinygrad_batch as tb
    >>> model = tb.nn.Linear(10, 1)
    >>> optimizer = tb.optim.Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = tb.save_checkpoint(f"{folder}/run.safetensors", model=model, optimizer=optimizer)
    ...     tb.load_checkpoint(path, model=model, optimizer=optimizer)
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    plain = {name: _without_arrays(part.state_dict(), _step(name), arrays) for name, part in parts.items()}
    content = save(arrays, {"format": FORMAT, "state": json.dumps(plain)})
    target = Path(path)
    try:
        write_whole(target, content)
    except OSError as error:
        raise DataError(f"the checkpoint {str(target)!r} cannot be written: {error.strerror or error}") from error
    return target


def load_checkpoint(path: str | os.PathLike[str], **parts: Stateful) -> None:
    """Give a model, an optimiser, a data iterator, ... the states that `save_checkpoint` wrote.

    Parameters
    ----------
    path : path
    **parts : objects with ``load_state_dict``
        Under the names they were saved by; others in the file are left alone.

    Raises
    ------
    DataError
        If the file cannot be read or is no checkpoint.
    StateError
        If a part is not in the file, or its state does not fit.

    Examples
    --------
    >>> import tempfile, tinygrad_batch as tb
    >>> saved, fresh = tb.nn.Linear(2, 1, rng=0), tb.nn.Linear(2, 1, rng=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tb.load_checkpoint(tb.save_checkpoint(f"{folder}/run", model=saved), model=fresh)
    >>> bool((saved.weight == fresh.weight).data.all())
    True
    """
    arrays, plain = _read(Path(path))
    missing = [name for name in parts if name not in plain]
    if missing:
        raise StateError(f"{str(path)!r} holds {', '.join(plain) or 'nothing'}, but not {', '.join(missing)}")
    before = {name: part.state_dict() for name, part in parts.items()}
    done: list[str] = []
    try:
        for name, part in parts.items():
            done.append(name)
            part.load_state_dict(_with_arrays(plain[name], arrays))
    except Exception:
        for name in done[:-1]:  # all of it or nothing
            parts[name].load_state_dict(before[name])
        raise


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise DataError(f"the checkpoint {str(path)!r} cannot be read: {error}") from error
    if metadata.get("format") != FORMAT:
        raise DataError(f"{str(path)!r} is a safetensors file, but no checkpoint of this package")
    try:
        plain = json.loads(metadata.get("state", ""))
    except ValueError as error:
        raise DataError(f"the state in {str(path)!r} is damaged: {error}") from error
    return arrays, plain


def _without_arrays(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return ``value`` with its arrays moved to ``arrays`` and marked by their path, under which they went there."""
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path, "shape": value.shape}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise StateError(
                    f"the state {path!r} has the key {key!r}, a {type(key).__name__}; keys in a checkpoint are strings",
                    "Let state_dict() return str(key), and load_state_dict() turn it back",
                )
        return {"dict": {key: _without_arrays(item, f"{path}/{_step(key)}", arrays) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"list": [_without_arrays(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]}
    return value.item() if isinstance(value, np.generic) else value


def _step(key: str) -> str:
    """Return a key as a step of a path, its slashes escaped as in a JSON Pointer, so that no two paths are the same."""
    return key.replace("~", "~0").replace("/", "~1")


def _with_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return ``value`` with its arrays back in place."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        if value["array"] not in arrays:
            raise DataError(f"the checkpoint lacks the array {value['array']!r}")
        return arrays[value["array"]].reshape(value["shape"])
    if "list" in value:
        return [_with_arrays(item, arrays) for item in value["list"]]
    return {key: _with_arrays(item, arrays) for key, item in value.get("dict", {}).items()}
