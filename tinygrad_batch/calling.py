"""How an operation is called: on Tensors, on raw arrays, and on names.

Each `Op` gets a caller made for it when it is defined. The common calls, one or two inputs and no
options, go a straight way: the inputs' arrays, the NumPy call, one new Tensor and, if something
needs a gradient, one new Node. Everything else, and every call while something is recorded, takes
`general`, which does the same thing in the same order for any operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ArgumentError, DtypeError, ShapeError, TinygradBatchError
from .formula import Name
from .graph import Node
from .state import state

if TYPE_CHECKING:
    from .op import Op, Plan

Tensor: Any = type("Tensor", (), {})  # replaced by `result_class` when the Tensor is defined
_ndarray = np.ndarray
_asarray = np.asarray
_new = object.__new__
_NUMBERS = (float, int, bool, complex)
_RAW = (*_NUMBERS, np.ndarray, np.generic)
_PATTERNS: dict[tuple[str, ...], Callable[[Any, Any, Any], tuple[Any, ...]]] = {
    (): lambda a, b, y: (),
    ("a",): lambda a, b, y: (a,),
    ("b",): lambda a, b, y: (b,),
    ("y",): lambda a, b, y: (y,),
    ("a", "b"): lambda a, b, y: (a, b),
}


def result_class(cls: type) -> type:
    """Declare the class that operations make their results with."""
    global Tensor
    Tensor = cls
    return cls


def wrap(data: np.ndarray, node: Node | None = None, name: str | None = None) -> Any:
    """Return a Tensor on ``data`` itself, without a copy or a check."""
    out = _new(Tensor)
    out._data = data
    out._node = node
    out._name = name
    return out


def checked_array(value: Any, dtype: Any = None) -> np.ndarray:
    """Return ``value`` as an array that the engine can compute on, without a copy where there is no need.

    Raises
    ------
    DtypeError
        For a masked array (the mask would be lost) and for dtypes that hold no numbers.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise DtypeError("a masked array was given, and its mask would be lost", "Fill it first: array.filled(0)")
    try:
        array = np.asarray(value, dtype=dtype)
    except ValueError as error:
        raise ShapeError(f"these values do not make an array: {error}") from None
    except TypeError as error:
        raise DtypeError(f"a {type(value).__name__} does not make an array: {error}") from None
    if array.dtype.kind not in "biufc":
        raise DtypeError(
            f"dtype {array.dtype} holds no numbers to compute on", "Use a floating, integer, complex or bool dtype"
        )
    return array


def cast_gradient(g: Any, dtype: Any) -> Any:
    """Return a gradient in the dtype of its input.

    Raises
    ------
    DtypeError
        If that would drop an imaginary part: derivatives are those of real numbers.
    """
    if g.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        raise DtypeError(
            "a gradient came back through complex numbers, whose derivatives are not defined here",
            "Compute on the real and the imaginary part as two real tensors",
        )
    return g.astype(dtype)


def operand(value: Any) -> Any:
    """Return what NumPy computes on: the array of a Tensor, an array, or a Python number.

    A NumPy scalar becomes a Python number, which never widens the array it meets.
    """
    kind = type(value)
    if kind is Tensor:
        return value._data
    if kind in _NUMBERS:
        return value
    if isinstance(value, np.generic):
        return value.item()
    return checked_array(value)


def caller(entry: Op) -> Callable[..., Any]:
    """Return the function that runs ``entry``, specialised for its number of inputs."""
    if entry.variadic or len(entry.inputs) > 3 or (entry.defaults and len(entry.inputs) > 1):
        return _general_caller(entry)
    if len(entry.inputs) == 3:
        return _ternary(entry)
    if len(entry.inputs) == 2:
        return _binary(entry)
    return _unary_with_options(entry) if entry.defaults else _unary(entry)


def _unary(entry: Op) -> Callable[..., Any]:
    compute = entry.compute
    plan = entry.plan((0,)) if entry.differentiable else None
    needs = plan.needs[0] if plan else ()
    keeps_x, keeps_y = needs == (entry.inputs[0],), needs == ("y",)

    def call(x: Any, /) -> Any:
        if type(x) is Tensor and state.plain:
            a = x._data
            try:
                y = compute(a)
            except (ValueError, TypeError) as error:
                raise explained(entry, (a,), {}, error) from None
            if type(y) is not _ndarray:
                y = _asarray(y)
            out = _new(Tensor)
            out._data = y
            out._name = None
            node = x._node
            if node is None or plan is None:
                out._node = None
            else:
                kept: tuple[Any, ...]
                if keeps_y:
                    kept = (y,)
                elif keeps_x:
                    kept = (a,)
                else:
                    kept = plan.keep((a,), {}, y) if needs else ()
                out._node = Node(plan, node, kept)
            return out
        if type(x) is _ndarray:
            return compute(x)
        return general(entry, (x,), {})

    return call


def _unary_with_options(entry: Op) -> Callable[..., Any]:
    compute, defaults = entry.compute, entry.defaults
    plan = entry.plan((0,)) if entry.differentiable else None
    slow = _general_caller(entry)

    def call(x: Any, *extra: Any, **given: Any) -> Any:
        raw = type(x) is _ndarray or isinstance(x, np.generic)
        if given or not (raw or (type(x) is Tensor and state.plain)):
            return slow(x, *extra, **given)
        try:
            if raw:
                return compute(x, *extra)
            a = x._data
            y = compute(a, *extra)
        except (ValueError, TypeError, IndexError):
            return slow(x, *extra)  # it says what is wrong
        if type(y) is not _ndarray:
            y = _asarray(y)
        node = x._node
        if node is None or plan is None or y.dtype.kind not in "fc":
            return wrap(y)
        fitting = plan if y.dtype is a.dtype else entry.plan((0,), _fits(entry, (a,), y))
        options = {**defaults, **dict(zip(defaults, extra))} if extra else defaults  # noqa: B905 (hot)
        return wrap(y, Node(fitting, node, fitting.keep((a,), options, y)))

    return call


def _binary(entry: Op) -> Callable[..., Any]:
    if entry.differentiable != (0, 1):
        return _general_caller(entry)
    compute, aligned = entry.compute, entry.aligned
    first, second, both = entry.plan((0,)), entry.plan((1,)), entry.plan((0, 1))
    keep_first, keep_second = (_PATTERNS.get(_placed(entry, names)) for names in both.needs)
    if keep_first is None or keep_second is None:
        return _general_caller(entry)
    unlike = _unlike if entry.elementwise else lambda x, z: True

    def call(a: Any, b: Any, /) -> Any:
        if type(a) is _ndarray and type(b) is _ndarray:
            return compute(a, b)
        if not state.plain:
            return general(entry, (a, b), {})
        arrays = True
        if type(a) is Tensor:
            x, p = a._data, a._node
            if type(b) is Tensor:
                y, q = b._data, b._node
            elif type(b) in _NUMBERS:
                y, q, arrays = b, None, False
            else:
                y, q = operand(b), None
                arrays = type(y) is _ndarray
        elif type(b) is Tensor:
            x, p = operand(a), None
            arrays = type(x) is _ndarray
            y, q = b._data, b._node
        else:
            return general(entry, (a, b), {})
        try:
            z = compute(x, y)
        except (ValueError, TypeError, AttributeError) as error:
            raise explained(entry, (x, y), {}, error) from None
        if type(z) is not _ndarray:
            z = _asarray(z)
        out = _new(Tensor)
        out._data = z
        out._name = None
        if p is None and q is None:
            out._node = None
        elif not arrays or aligned(x, y):
            if q is None:
                out._node = Node(first, p, keep_first(x, y, z))
            elif p is None:
                out._node = Node(second, q, keep_second(x, y, z))
            else:
                out._node = Node(both, (p, q), (keep_first(x, y, z), keep_second(x, y, z)))
        else:
            fits = unlike(x, z), unlike(y, z)
            if q is None:
                out._node = Node(entry.plan((0,), fits), p, _fitting(fits[0], x, keep_first(x, y, z)))
            elif p is None:
                out._node = Node(entry.plan((1,), fits), q, _fitting(fits[1], y, keep_second(x, y, z)))
            else:
                kept = _fitting(fits[0], x, keep_first(x, y, z)), _fitting(fits[1], y, keep_second(x, y, z))
                out._node = Node(entry.plan((0, 1), fits), (p, q), kept)
        return out

    return call


def _ternary(entry: Op) -> Callable[..., Any]:
    compute = entry.compute
    slow = _general_caller(entry)
    if entry.elementwise or entry.differentiable != (0, 1, 2):
        return slow
    all_three, last_two = entry.plan((0, 1, 2)), entry.plan((1, 2))
    first, second, third = _pickers(entry, all_three)

    def call(a: Any, b: Any, c: Any, /) -> Any:
        if not (type(a) is Tensor and type(b) is Tensor and type(c) is Tensor and state.plain):
            return slow(a, b, c)
        x, y, z = a._data, b._data, c._data
        p, q, r = a._node, b._node, c._node
        # decided before anything is computed, so that nothing is computed twice
        if not x.dtype is y.dtype is z.dtype or (q is None) is not (r is None) or (q is None and p is not None):
            return slow(a, b, c)
        try:
            data = compute(x, y, z)
        except (ValueError, TypeError, AttributeError) as error:
            raise explained(entry, (x, y, z), {}, error) from None
        out = _new(Tensor)
        out._data = data
        out._name = out._node = None
        values = x, y, z, data
        if p is not None and q is not None and r is not None:
            out._node = Node(all_three, (p, q, r), (first(values), second(values), third(values)))
        elif q is not None and r is not None:  # the first layer: its input is data
            out._node = Node(last_two, (q, r), (second(values), third(values)))
        return out

    return call


def _pickers(entry: Op, plan: Plan) -> list[Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
    """Return, for each rule, what picks the tuple it asks for out of (inputs..., output)."""
    values = (*entry.inputs, "y")
    places = [[values.index(name) for name in names] for names in plan.needs]
    # two places or more make a tuple already
    return [itemgetter(*p) if len(p) > 1 else _PICKERS[p[0] if p else None] for p in places]


_PICKERS: dict[int | None, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    None: lambda values: (),
    **{place: itemgetter(slice(place, place + 1)) for place in range(4)},
}


def _unlike(x: np.ndarray, z: np.ndarray) -> bool:
    return x.shape != z.shape or x.dtype is not z.dtype


def _fitting(fit: bool, x: np.ndarray, kept: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a rule keeps, with the shape and dtype to fit its gradient to where that is needed."""
    return (x.shape, x.dtype, *kept) if fit else kept


def _placed(entry: Op, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a rule of two inputs needs with the inputs called a and b."""
    return tuple({entry.inputs[0]: "a", entry.inputs[1]: "b"}.get(n, n) for n in names)


def _general_caller(entry: Op) -> Callable[..., Any]:
    count = len(entry.inputs)
    names = tuple(entry.defaults)
    aliases = {"dim": "axis", "keepdim": "keepdims"}

    def call(*arguments: Any, **given: Any) -> Any:
        if len(arguments) > count:
            extra = arguments[count:]
            if len(extra) > len(names):
                raise ArgumentError(f"{entry.name} takes {count + len(names)} arguments at most, not {len(arguments)}")
            given = {**dict(zip(names, extra, strict=False)), **given}
            arguments = arguments[:count]
        elif len(arguments) < count:
            raise ArgumentError(f"{entry.name} takes {count} inputs ({', '.join(entry.inputs)}), not {len(arguments)}")
        if given:
            options = dict(entry.defaults)
            for key, value in given.items():
                key = aliases.get(key, key) if key not in options else key
                if key not in options:
                    raise ArgumentError(f"{entry.name} has no option {key!r}", f"It has {', '.join(names) or 'none'}")
                options[key] = value
        else:
            options = entry.defaults
        return general(entry, tuple(arguments[0]) if entry.variadic else arguments, options)

    return call


def general(entry: Op, operands: Sequence[Any], options: dict[str, Any]) -> Any:
    """Run any operation on any kinds of value, and record it if something is recording."""
    if not any(type(v) is Tensor for v in operands):
        if any(type(v) is Name for v in operands):
            return _named(entry, operands, options)
        return _computed(entry, [v if _is_raw(v) else checked_array(v) for v in operands], options)
    if entry.expand is not None and state.recorder is not None and state.recorder.expands:
        return entry.expand(*operands)
    arrays = [operand(v) for v in operands]
    y = ghost(entry, arrays, options) if state.abstract else _computed(entry, arrays, options)
    if type(y) is not _ndarray:
        y = _asarray(y)
    plan = node = None
    if state.grad:
        positions = range(len(operands)) if entry.variadic else entry.differentiable
        needed = tuple(i for i in positions if type(operands[i]) is Tensor and operands[i]._node is not None)
        if needed and entry.differentiable and y.dtype.kind in "fc":  # integers carry no gradient
            plan = entry.plan(needed, _fits(entry, arrays, y))
            parents = tuple(operands[i]._node for i in needed)
            node = Node(plan, parents[0] if plan.single else parents, plan.keep(arrays, options, y))
    out = wrap(y, node)
    if state.recorder is not None:
        state.recorder.forward(entry, operands, options, out, plan)
    return out


def _is_raw(value: Any) -> bool:
    return isinstance(value, _RAW) and not isinstance(value, np.ma.MaskedArray)


def _computed(entry: Op, arrays: Sequence[Any], options: dict[str, Any]) -> Any:
    try:
        return entry.compute(arrays, **options) if entry.variadic else entry.compute(*arrays, **options)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(entry, arrays, options, error) from None


def explained(entry: Op, arrays: Sequence[Any], options: dict[str, Any], error: Exception) -> Exception:
    """Return what an operation should raise when NumPy refused: the broken shape rule, else NumPy's words."""
    if isinstance(error, TinygradBatchError):
        return error
    shapes = [np.shape(a) for a in arrays]
    try:
        entry.shape(*([shapes] if entry.variadic else shapes), **options)
    except (TinygradBatchError, IndexError) as clear:
        return clear
    kind = DtypeError if isinstance(error, TypeError) else ShapeError
    return kind(f"{entry.name} of shapes {', '.join(map(str, shapes))}: {error}")


def _fits(entry: Op, arrays: Sequence[Any], y: np.ndarray) -> tuple[bool, ...]:
    """Return which inputs were broadcast or cast on the way, so that their gradients must be fitted back."""
    if not entry.elementwise and len(arrays) == 2 and not entry.variadic:
        return (not all(type(a) is _ndarray for a in arrays) or not entry.aligned(*arrays),) * 2

    def fits(a: Any) -> bool:
        if type(a) is not _ndarray or a.dtype.kind not in "fc":
            return False
        return a.dtype != y.dtype or (entry.elementwise and a.shape != y.shape)

    return tuple([fits(a) for a in arrays])


def getter(entry: Op, name: str, position: int) -> Callable[[Sequence[Any], dict[str, Any], Any], Any]:
    """Return the function that picks what a rule calls ``name`` out of (inputs, options, output)."""
    if name == "y":
        return lambda arrays, options, y: y
    if name in entry.defaults:
        return lambda arrays, options, y: options[name]
    if name == "i":
        return lambda arrays, options, y: position
    if name == "shapes":
        return lambda arrays, options, y: tuple(np.shape(a) for a in arrays)
    what = ""
    if name not in entry.inputs:
        name, _, what = name.rpartition("_")
    place = position if entry.variadic else entry.inputs.index(name)
    if what == "shape":
        return lambda arrays, options, y: np.shape(arrays[place])
    if what == "dtype":
        return lambda arrays, options, y: np.result_type(arrays[place])
    return lambda arrays, options, y: arrays[place]


def ghost(entry: Op, arrays: Sequence[Any], options: dict[str, Any]) -> np.ndarray:
    """Return an array of the result's shape and dtype that takes no memory."""
    shapes = [np.shape(a) for a in arrays]
    shape = entry.shape(*([shapes] if entry.variadic else shapes), **options)
    if entry.dtype is not None:
        fixed = isinstance(entry.dtype, (type, np.dtype)) or not callable(entry.dtype)
        dtype = entry.dtype if fixed else entry.dtype(*arrays, **options)
    elif entry.elementwise:
        dtype = _elementwise_dtype(entry, arrays, options)
    else:
        dtype = np.result_type(*arrays)
    return stand_in(shape, dtype)


NOTHING: Any = bytes(64)  # what stand-ins lie on
_dtypes: dict[tuple[Any, ...], np.dtype[Any]] = {}
_names: dict[np.dtype[Any], str] = {}


def stand_in(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Return an array of zeros that takes no memory: it never steps on."""
    return np.ndarray(shape, dtype, NOTHING, 0, (0,) * len(shape))


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype, such as ``float32``; NumPy takes its time over it."""
    name = _names.get(dtype)
    if name is None:
        name = _names[dtype] = str(dtype)
    return name


def _elementwise_dtype(entry: Op, arrays: Sequence[Any], options: dict[str, Any]) -> np.dtype[Any]:
    """Return the dtype of an elementwise result, which depends on dtypes and on Python's number types alone."""
    key = (entry, *[a.dtype if isinstance(a, _ndarray) else type(a) for a in arrays])
    dtype = None if options else _dtypes.get(key)
    if dtype is None:
        with np.errstate(all="ignore"):
            ones = [np.ones((), a.dtype) if isinstance(a, _ndarray) else a for a in arrays]
            dtype = _dtypes[key] = np.result_type(entry.compute(*ones, **options))
    return dtype


def _named(entry: Op, operands: Sequence[Any], options: dict[str, Any]) -> Name:
    """Return the formula of the operation on names, and count its floating-point operations."""
    tally = next(v for v in operands if type(v) is Name).flops
    names = [v if type(v) is Name else Name(_text(v), np.shape(v), flops=tally) for v in operands]
    shapes = [n.shape for n in names]
    shape = entry.shape(*([shapes] if entry.variadic else shapes), **options)
    if entry.formula is None:
        plain = entry.defaults
        changed = [f"{k}={_text(v)}" for k, v in options.items() if v is not plain[k] and v != plain[k]]
        out = Name(f"{entry.name}({', '.join([*map(str, names), *changed])})", shape, flops=tally)
    else:
        before = tally[0]
        out = entry.formula(names, **options) if entry.variadic else entry.formula(*names, **options)
        tally[0] = before
        out = Name(out.text, shape, out.rank, tally)
    tally[0] += entry.flops(shape, *([shapes] if entry.variadic else shapes), **options)
    return out


def _text(value: Any) -> str:
    if isinstance(value, (np.ndarray, list)):
        return f"array{np.shape(value)}"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return str(value)
