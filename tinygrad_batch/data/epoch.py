"""One pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import ShapeError
from ..tensor import Tensor

if TYPE_CHECKING:
    from .iterator import DataIterator

Batch = TypeVar("Batch", bound=tuple[Tensor, ...] | dict[str, Tensor])


class Epoch(Generic[Batch]):
    """One pass over the data; every loop over it hands out the same batches.

    Attributes
    ----------
    number : int
        Which epoch this is, counted from 0.
    start : int
        The first batch it hands out: 0, or a later one in the epoch that a loaded state lies in.
        ``len(epoch)`` counts the batches from there on.

    Examples
    --------
    >>> from tinygrad_batch.data import DataIterator
    >>> for epoch in DataIterator([[1.0], [2.0], [3.0]], batch_size=2).epochs(2):
    ...     print(epoch, [len(xb) for (xb,) in epoch])
    Epoch(0: 2 batches) [2, 1]
    Epoch(1: 2 batches) [2, 1]
    """

    def __init__(self, source: DataIterator[Batch], number: int, start: int) -> None:
        self._source = source
        self.number = number
        self.start = start
        self._short: tuple[int, int] | None = None  # a batch with fewer rows than the others: its step and its rows

    def __len__(self) -> int:
        return len(self._source) - self.start

    def __iter__(self) -> Iterator[Batch]:
        return self._source._walk(self)

    def mean(self, values: Iterable[Any]) -> float:
        """Return the mean over the rows of what each batch gave, such as its mean loss.

        Parameters
        ----------
        values : iterable of float or Tensor, or Tensor of shape (batches,)
            For the batches of this epoch from the first on, in order; of a loop that was broken off, those that were.

        Returns
        -------
        float
            Each value counts as often as its batch has rows; with several processes, has rows in this one.

        Raises
        ------
        ShapeError
            If there are more values than batches, or they are a tensor of another shape.

        Examples
        --------
        Three rows in a batch of two and a batch of one. The mean over the batches counts the last row twice:

        >>> from tinygrad_batch.data import DataIterator
        >>> for epoch in DataIterator([1.0, 2.0, 6.0], batch_size=2).epochs(1):
        ...     means = [xb.mean() for (xb,) in epoch]
        >>> epoch.mean(means), sum(means).item() / 2
        (3.0, 3.75)
        """
        if isinstance(values, Tensor) and values.ndim != 1:
            raise ShapeError(f"the values have shape {values.shape}; expected one for each batch, (batches,)")
        numbers = [float(value) for value in (values.numpy() if isinstance(values, Tensor) else values)]
        plan, mine = self._source.plan, self._source._pipeline.mine
        if plan.rows is not None and len(numbers) > len(self):
            raise ShapeError(f"there are {len(numbers)} values for {counted(len(self), 'batch', 'batches')}")
        rows = {step: plan.rows_in(step) for step in range(self.start, self.start + len(numbers))}
        rows.update([self._short] if self._short and self._short[0] in rows else [])
        weights = [len(range(count)[mine]) for count in rows.values()]
        total = sum(weight * number for weight, number in zip(weights, numbers, strict=True) if weight)
        return total / sum(weights) if any(weights) else float("nan")

    def __repr__(self) -> str:
        resumed = f", from batch {self.start} on" if self.start else ""
        batches = "a stream" if self._source.plan.rows is None else counted(len(self), "batch", "batches")
        return f"Epoch({self.number}: {batches}{resumed})"


def counted(number: int, one: str, many: str = "rows") -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "row"), counted(2, "batch", "batches")
    ('1 row', '2 batches')
    """
    return f"{number} {one if number == 1 else many}"
