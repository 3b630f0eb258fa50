"""Columns of Parquet files, read a row group at a time."""

import importlib
import itertools
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from tinygrad_batch.data import Blocks, DataIterator, Parquet, load_file, sources
from tinygrad_batch.errors import ArgumentError, DataError

ROWS = 50
AGE = np.random.default_rng(0).integers(20, 80, ROWS)
BMI = np.random.default_rng(1).standard_normal(ROWS).astype(np.float32)
SICK = AGE > 50


@pytest.fixture
def write(tmp_path):
    def to_file(name="people.parquet", group_rows=8, **columns):
        path = tmp_path / name
        pq.write_table(pa.table(columns or {"age": AGE, "bmi": BMI, "sick": SICK}), path, row_group_size=group_rows)
        return path

    return to_file


def test_columns_by_name_and_position(write):
    table = Parquet(write(), ["bmi", 0])
    assert (table.shape, table.dtype, table.columns, table.group_rows) == ((50, 2), np.float64, ("bmi", "age"), 8)
    assert (table[:] == np.column_stack([BMI, AGE])).all()
    assert repr(table) == "Parquet('people.parquet': 50 rows of bmi, age)"
    assert Parquet(write(), ["bmi"]).dtype == np.float32
    assert Parquet(write(), ["sick"]).dtype == np.bool_
    assert Parquet(write()).columns == ("age", "bmi", "sick")


@given(st.integers(0, ROWS + 5), st.integers(0, ROWS + 5), st.sampled_from([1, 7, 8, 50]))
def test_any_neighbouring_rows(tmp_path_factory, start, stop, group_rows):
    path = tmp_path_factory.getbasetemp() / f"{group_rows}.parquet"
    if not path.exists():
        pq.write_table(pa.table({"age": AGE}), path, row_group_size=group_rows)
    assert Parquet(path)[start:stop].tolist() == AGE[start:stop, None].tolist()


@pytest.mark.parametrize("sampler", [None, Blocks(block_rows=8, window=2)])
def test_batches_are_those_of_the_same_rows_in_memory(write, sampler):
    path = write()
    options = {"batch_size": 6, "sampler": sampler, "shuffle": sampler is None}
    for data in ([path], [Parquet(path, ["age", "bmi"]), Parquet(path, ["sick"])]):
        expected = DataIterator(np.column_stack([AGE, BMI]), SICK[:, None], **options)
        for found, wanted in zip(DataIterator(*data, **options), expected, strict=True):
            assert all((a.numpy() == b.numpy()).all() for a, b in zip(found, wanted, strict=True))
    assert DataIterator(path).arrays is None


def test_a_row_group_is_read_once_where_rows_come_in_order_or_in_blocks(write, monkeypatch):
    monkeypatch.setattr(sources, "GAP", 1)  # here, all rows together would be read over
    for sampler in (None, Blocks(block_rows=8, window=2)):
        table = Parquet(write())
        with mock.patch.object(table, "_file", wraps=table._file) as file:
            for _ in DataIterator(table, batch_size=3, sampler=sampler):
                pass
        assert file.read_row_group.call_count == 7


def test_a_parquet_file_as_a_data_set(write):
    data = load_file(write())
    assert (data.feature_names, data.target_name, data.name) == (("age", "bmi"), "sick", "people")
    assert (data.x == np.column_stack([AGE, BMI])).all()
    assert (data.y == SICK[:, None]).all()
    data = load_file(write(), "age", features=["sick", 1])
    assert (data.feature_names, data.target_name) == (("sick", "bmi"), "age")
    assert load_file(write(), 0).feature_names == ("bmi", "sick")
    named = write(who=["a", "b"], age=[1, 2], y=[3, 4])
    assert load_file(named, features=["age"]).y.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({"who": ["a"], "y": [1]}, {}, DataError, "column 'who' is of type string, not of numbers. Leave it out"),
        ({"a": [1, 2], "y": [1, None]}, {}, DataError, "row 1, column 'y': the value is missing"),
        ({"a": [1.0, np.inf], "y": [1, 2]}, {}, DataError, "not finite in row 1"),
        ({"a": [1]}, {}, DataError, "one column, 'a'"),
        ({"a": pa.array([], pa.int64()), "y": pa.array([], pa.int64())}, {}, DataError, "no rows"),
        ({"a": [1], "y": [1]}, {"target": "z"}, DataError, "has no column 'z'"),
        ({"a": [1], "y": [1]}, {"features": []}, ArgumentError, "features is empty"),
        ({"a": [1], "y": [1]}, {"features": ["a", "y"]}, ArgumentError, "asked for twice"),
    ],
)
def test_tables_that_are_wrong_and_where(write, columns, options, error, message):
    with pytest.raises(error, match=message):
        load_file(write(**columns), **options)


def test_what_is_wrong_further_down_is_found_when_it_is_read(write):
    batches = iter(DataIterator(Parquet(write(group_rows=2, a=[1.0, 2.0, 3.0, None])), batch_size=1))
    assert [xb.item() for (xb,) in itertools.islice(batches, 2)] == [1.0, 2.0]
    with pytest.raises(DataError, match="row 3, column 'a': the value is missing") as caught:
        next(batches)
    assert "while preparing batch 2 of epoch 0" in caught.value.__notes__


def test_files_that_cannot_be_read(write, tmp_path):
    content = write().read_bytes()
    for name, part in {"cut": content[:-20], "empty": b"", "text": b"a,b\n1,2\n"}.items():
        (tmp_path / f"{name}.parquet").write_bytes(part)
        with pytest.raises(DataError, match=r"cannot be read as Parquet"):
            Parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="No such file"):
        load_file(tmp_path / "none.parquet")
    broken = bytearray(content)
    broken[4:200] = bytes(196)
    (tmp_path / "broken.parquet").write_bytes(broken)
    with pytest.raises(DataError, match=r"row group 0 of broken\.parquet cannot be read"):
        Parquet(tmp_path / "broken.parquet")[:8]


def test_columns_and_steps_that_there_are_not(write):
    with pytest.raises(ArgumentError, match="columns is empty"):
        Parquet(write(), [])
    with pytest.raises(ArgumentError, match="asked for twice: age, age"):
        Parquet(write(), ["age", 0])
    with pytest.raises(ArgumentError, match="in steps of 1, not 2"):
        Parquet(write())[::2]
    with pytest.raises(ArgumentError, match="rows 0 were asked for; expected a slice"):
        Parquet(write())[0]


def test_two_columns_of_one_name_are_refused(tmp_path):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    for read in (Parquet, load_file, DataIterator):
        with pytest.raises(DataError, match="two columns are named 'a'"):
            read(tmp_path / "twice.parquet")


def test_the_row_group_that_is_kept_cannot_be_written(write):
    table = Parquet(write())
    with pytest.raises(ValueError, match="read-only"):
        table[0:2][:] = -1


def test_without_pyarrow_the_error_names_the_extra(write, monkeypatch):
    path = write()

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return importlib.__import__(name, *rest)

    monkeypatch.setattr("tinygrad_batch.data.parquet.import_module", without)
    with pytest.raises(DataError, match=r"needs pyarrow.*tinygrad-batch\[parquet\]"):
        load_file(path)
