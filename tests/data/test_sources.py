"""Where rows come from: files and array-likes give the same batches as the same rows in memory."""

import gc
import io
import mmap
import subprocess
import sys

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import tinygrad_batch as tb
from tinygrad_batch.data import Blocks, DataIterator, Sequential, Shuffled, Weighted, load_file, sources
from tinygrad_batch.data.sources import Mapped, Sliced, as_source
from tinygrad_batch.errors import ArgumentError, DataError, InPlaceError

ROWS = 60
X = np.random.default_rng(0).standard_normal((ROWS, 3, 2)).astype(np.float32)
Y = np.arange(ROWS)


class OnlySlices:
    """The least that is asked for: a shape, a dtype, and neighbouring rows."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        assert rows.step in (None, 1)
        self.read.append((rows.start, rows.stop))
        return self._array[rows].tolist()  # not even an array


@pytest.fixture(params=["hdf5", "zarr", "slices", "npy", "memmap"])
def stored(request, tmp_path, monkeypatch):
    """X and Y, as something that is not in memory."""
    monkeypatch.setattr(sources, "RESIDENT", 500)  # a row or two: what is large elsewhere is large here
    if request.param == "slices":
        yield OnlySlices(X), OnlySlices(Y)
    elif request.param == "hdf5":
        with h5py.File(tmp_path / "data.h5", "w") as file:
            yield file.create_dataset("x", data=X, chunks=(7, 3, 2)), file.create_dataset("y", data=Y)
    elif request.param == "zarr":
        x = zarr.open(str(tmp_path / "x.zarr"), mode="w", shape=X.shape, dtype=X.dtype, chunks=(7, 3, 2))
        y = zarr.open(str(tmp_path / "y.zarr"), mode="w", shape=Y.shape, dtype=Y.dtype, chunks=(7,))
        x[:], y[:] = X, Y
        yield x, y
    else:
        np.save(tmp_path / "x.npy", X)
        np.save(tmp_path / "y.npy", Y)
        paths = tmp_path / "x.npy", str(tmp_path / "y.npy")
        yield paths if request.param == "npy" else [np.load(path, mmap_mode="r") for path in paths]


SAMPLERS = {
    "in order": Sequential(),
    "shuffled": Shuffled(),
    "again": Weighted(np.arange(ROWS), rows_per_epoch=90),
    "blocks": Blocks(block_rows=8, window=3),
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize(
    "options", [{"batch_size": 7}, {"batch_size": 64}, {"rank": 6, "world_size": 7, "batch_size": 8}]
)
def test_batches_are_those_of_the_same_rows_in_memory(stored, sampler, options):
    expected = DataIterator(X, Y, sampler=sampler, **options)
    found = DataIterator(*stored, sampler=sampler, **options)
    assert found.arrays is None
    assert repr(found) == repr(expected)
    for _ in range(2):
        for (xa, ya), (xb, yb) in zip(expected, found, strict=True):
            assert (xa.numpy() == xb.numpy()).all()
            assert (ya.numpy() == yb.numpy()).all()
            assert (xa.dtype, xa.shape, ya.dtype) == (xb.dtype, xb.shape, yb.dtype)


def test_stored_rows_resume_in_the_middle(stored):
    whole = DataIterator(*stored, batch_size=7, sampler=Blocks(8, 3))
    labels = [yb.numpy().tolist() for _, yb in whole]
    for step in range(1, 9):
        batches = DataIterator(*stored, batch_size=7, sampler=Blocks(8, 3))
        batches.load_state_dict({**batches.state_dict(), "step": step})
        assert [yb.numpy().tolist() for _, yb in batches] == labels[step:]


# ---- what is read ----


def test_blocks_are_read_in_long_runs_and_no_row_twice():
    x = OnlySlices(np.arange(100 * 2**14.0).reshape(100, -1))  # rows of 128 KiB: no gap is worth reading over
    for _ in DataIterator(x, batch_size=6, sampler=Blocks(block_rows=10, window=3)):
        pass
    assert all(start % 10 == 0 for start, _ in x.read)
    assert sum(stop - start for start, stop in x.read) == 100
    assert len(x.read) <= 10


def test_near_rows_are_read_as_one_slice_and_far_ones_apart():
    x = OnlySlices(np.arange(1000 * 1024.0).reshape(1000, -1))  # rows of 8 KiB, so gaps of up to 8
    found = Sliced(x, "x").take(np.array([500, 3, 11, 3, 20, 508]))
    assert (found == x._array[[500, 3, 11, 3, 20, 508]]).all()
    assert x.read == [(3, 12), (20, 21), (500, 509)]


def test_no_slice_is_very_long_however_near_the_rows(monkeypatch):
    monkeypatch.setattr(sources, "RESIDENT", 2**13)
    x = OnlySlices(np.arange(4000.0))
    rows = np.arange(0, 4000, 3)[::-1]
    assert (Sliced(x, "x").take(rows) == rows).all()
    assert x.read == [(0, 1024), (1026, 2047), (2049, 3070), (3072, 4000)]


@given(st.lists(st.integers(0, ROWS - 1), max_size=30))
def test_any_rows_in_any_order(rows):
    rows = np.array(rows, int)
    assert (Sliced(OnlySlices(X), "x").take(rows) == X[rows]).all()


def test_nothing_is_read_before_its_turn():
    x = OnlySlices(np.arange(1000.0))
    batches = DataIterator(x, batch_size=10)
    assert (batches.rows, len(batches), x.read) == (1000, 100, [])
    next(iter(batches))
    assert x.read == [(0, 10)]


def test_arrays_of_other_packages_that_are_in_memory_are_arrays():
    class Frame(OnlySlices):
        def to_numpy(self):
            raise AssertionError("not needed")

        def __array__(self, dtype=None, copy=None):
            return self._array

    assert DataIterator(Frame(X), batch_size=4).arrays is not None


def test_a_source_that_gives_other_rows_than_asked_for():
    x = OnlySlices(np.arange(10.0))
    x.shape = (20,)
    with pytest.raises(DataError, match=r"x gave an array of shape \(1,\) for 3 rows") as caught:
        list(DataIterator(x, batch_size=3))
    assert "while reading rows 9 to 11 of x" in caught.value.__notes__
    assert "while preparing batch 3 of epoch 0" in caught.value.__notes__


def test_an_error_of_a_source_keeps_its_type():
    class Broken(OnlySlices):
        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        next(iter(DataIterator(Broken(X), batch_size=3, shuffle=True)))
    assert any("of x" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("shuffle", [False, True])
def test_what_a_source_holds_cannot_be_written_through_a_batch(shuffle):
    class Views(OnlySlices):
        def __getitem__(self, rows):
            return self._array[rows]

    held = np.arange(12.0).reshape(6, 2)
    (xb,) = next(iter(DataIterator(Views(held), batch_size=3, shuffle=shuffle)))
    with tb.no_grad():
        if shuffle:
            xb[0] = -1.0  # a copy, as of any other array
        else:
            with pytest.raises(InPlaceError):
                xb[0] = -1.0
    assert (held == np.arange(12.0).reshape(6, 2)).all()


def test_sparse_matrices_are_refused_by_name():
    with pytest.raises(DataError, match=r"x is a sparse csr_matrix. Pass a dense array: .toarray\(\)"):
        DataIterator(sparse.csr_matrix(np.eye(3)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 2)), "x is empty"),
        (np.array(["a"]), "numbers are expected"),
        (np.array(3.0), "not an array with rows"),
    ],
)
def test_what_can_be_sliced_but_has_no_rows_of_numbers(array, message):
    with pytest.raises(DataError, match=message):
        DataIterator(OnlySlices(array))


# ---- mapped files ----


class Counting:
    """A mapping that counts how often its pages are let go."""

    def __init__(self):
        self.times = 0

    def madvise(self, advice):
        assert advice == mmap.MADV_DONTNEED
        self.times += 1


def test_pages_are_let_go_after_so_many_bytes():
    array = np.zeros((2**10, 2**10))  # rows of 8 KiB; what is mapped around each read counts as 2 MiB
    slices, picks, columns = Counting(), Counting(), Counting()
    mapped = Mapped(array, "x", slices)
    for _ in range(10):
        mapped[:768]  # 6 MiB
    assert slices.times == 2
    mapped = Mapped(array, "x", picks)
    for _ in range(3):
        assert mapped.take(np.arange(16) * 50).shape == (16, 2**10)
    assert picks.times == 3
    mapped.take(np.arange(100))  # a single run
    assert picks.times == 3
    Mapped(np.asfortranarray(array), "x", columns).take(np.arange(1))  # every number of a row lies somewhere else
    assert columns.times == 1


@pytest.mark.parametrize(("mode", "kind"), [("r", Mapped), ("r+", Mapped), ("c", np.ndarray)])
def test_changes_that_are_not_in_the_file_are_never_let_go(tmp_path, mode, kind, monkeypatch):
    monkeypatch.setattr(sources, "RESIDENT", 500)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    if mode != "r":
        mapped[:] = -X
    for view in (mapped, mapped[:], np.asarray(mapped)):
        assert isinstance(as_source(view, "x"), kind)
    for _ in range(3):
        for (xb,), expected in zip(DataIterator(mapped, batch_size=20), np.split(mapped, 3), strict=True):
            assert (xb.numpy() == expected).all()
    assert (mapped == (X if mode == "r" else -X)).all()
    assert (np.load(tmp_path / "x.npy") == (-X if mode == "r+" else X)).all()


def test_a_small_mapped_file_is_an_array_like_any_other(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert DataIterator(tmp_path / "x.npy").arrays is not None


MEMORY = """
import sys
import numpy as np
from tinygrad_batch import nn, optim
from tinygrad_batch.data import Blocks, DataIterator, Sequential, Shuffled

def peak():  # of this process alone; ru_maxrss starts from the parent's
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

_, path, order = sys.argv
sampler = {"order": Sequential(), "shuffle": Shuffled(), "blocks": Blocks(block_rows=64, window=8)}[order]
targets = np.zeros((2**15, 1), np.float32)
batches = DataIterator(path, targets, batch_size=64, sampler=sampler)
model = nn.Linear(2048, 1)
optimizer = optim.SGD(model.parameters(), lr=0.01)
before = peak()
for xb, yb in batches:
    optimizer.zero_grad()
    nn.MSELoss()(model(xb), yb).backward()
    optimizer.step()
print(peak() - before)
"""


@pytest.mark.parametrize("order", ["order", "shuffle", "blocks"])
def test_training_on_a_mapped_file_does_not_fill_the_memory(tmp_path, order):
    """256 MiB of rows of 8 KiB: half a second. Without letting go, the process grows by all of it."""
    shape = (2**15, 2**11)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with open(tmp_path / "x.npy", "wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + 4 * shape[0] * shape[1])  # a hole: it takes no room on the disk
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x.npy"), order]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 96 * 2**20


# ---- paths ----


def test_a_table_alone_is_all_its_arrays(tmp_path):
    np.savez(tmp_path / "data.npz", picture=X, label=Y)
    (tmp_path / "data.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    batches = DataIterator(tmp_path / "data.npz", batch_size=4)
    assert batches.names == ("picture", "label")
    assert [t.shape for t in next(iter(batches))] == [(4, 3, 2), (4,)]
    xb, yb = next(iter(DataIterator(str(tmp_path / "data.csv"))))
    assert (xb.numpy().tolist(), yb.numpy().tolist()) == ([[1, 2], [4, 5]], [[3], [6]])
    assert (load_file(tmp_path / "data.csv").x == xb.numpy()).all()


def test_paths_in_a_dict(tmp_path):
    np.save(tmp_path / "x.npy", X)
    batch = next(iter(DataIterator({"picture": str(tmp_path / "x.npy"), "label": Y}, batch_size=4)))
    assert (batch["picture"].numpy() == X[:4]).all()


def npy(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", npy(X)[:-100], "cannot be read"),
        ("x.npy", npy(X)[:20], "cannot be read"),
        ("x.npy", b"", "cannot be read"),
        ("x.npy", b"not an array at all", "cannot be read"),
        ("x.npy", npz(x=X), "holds several arrays.* Name it .npz"),
        ("x.npy", npy(np.array([{}]), allow_pickle=True), r"cannot be read: .*[Pp]ython objects"),
        ("x.npy", npy(np.array(["a", "b"])), "numbers are expected"),
        ("x.npy", npy(np.zeros((0, 3))), "empty|cannot be read"),
        ("x.npy", npy(np.array(1.0)), "not an array with rows. An array of shape|cannot be read"),
        ("x.npz", b"PK\x03\x04", "no .npz archive"),
        ("x.npz", b"PK\x05\x06" + bytes(18), "holds no arrays"),
        ("x.csv", b"a\n1\n", "one column"),
        ("x.txt", b"", "is empty"),
        ("x.xlsx", b"", "ends in '.xlsx'"),
        ("x", b"", "ends in ''"),
    ],
)
def test_files_that_are_broken(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        DataIterator(tmp_path / name)
    gc.collect()  # whatever was opened is closed, or this warns


def test_paths_that_stand_wrongly(tmp_path):
    with pytest.raises(DataError, match=r"No such file or directory. Check the path"):
        DataIterator(tmp_path / "none.npy")
    np.savez(tmp_path / "a.npz", x=X)
    with pytest.raises(DataError, match=r"not an .npy file.*give it alone"):
        DataIterator(tmp_path / "a.npz", Y)
    with pytest.raises(ArgumentError, match="a dict was given among other arrays"):
        DataIterator({"a": X}, Y)
