"""Tables from files: what is read, and where it is said to be wrong."""

import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_batch.data import load_file
from tinygrad_batch.data.files import column_index, read_csv, read_npz
from tinygrad_batch.errors import ArgumentError, DataError


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


# ---- CSV that is read ----


@pytest.mark.parametrize(
    "content",
    [
        "a,b,c\n1,2,3\n4,5,6\n",
        "a;b;c\n1;2;3\n4;5;6",
        "a\tb\tc\r\n1\t2\t3\r\n4\t5\t6\r\n",
        "a,b,c\r1,2,3\r4,5,6\r",
        "\ufeffa,b,c\n1,2,3\n4,5,6\n",
        '"a","b","c"\n"1","2","3"\n4,5,6\n',
        "\n\na,b,c\n\n1,2,3\n   \n4,5,6\n\n\n",
        " a , b , c \n 1 ,\t2, 3.0\n4e0,+5,6.\n",
        '"a";"b";"c"\n1;2;3\n4;5;6\n',
    ],
)
def test_tables_that_mean_the_same(write, content):
    data = load_file(write(content))
    assert data.x.tolist() == [[1, 2], [4, 5]]
    assert data.y.tolist() == [[3], [6]]
    assert (data.feature_names, data.target_name, data.name) == (("a", "b"), "c", "table")
    assert (data.x.dtype, data.y.dtype) == (np.float64, np.float64)


def test_the_target_and_the_features_by_name_or_position(write):
    path = write("a,b,c\n1,2,3\n4,5,6\n")
    assert load_file(path, "a").feature_names == ("b", "c")
    assert load_file(str(path), target=1).target_name == "b"
    assert load_file(path, -3).target_name == "a"
    data = load_file(path, "b", features=["c", 0])
    assert (data.feature_names, data.x.tolist(), data.y.tolist()) == (("c", "a"), [[3, 1], [6, 4]], [[2], [5]])
    assert load_file(path, features="a").x.tolist() == [[1], [4]]


def test_columns_that_are_not_asked_for_may_hold_anything(write):
    path = write('name,a,b\n"Ada; ""the"" first",1,2\n,3,4\n')
    assert load_file(path, "b", features=["a"]).x.tolist() == [[1], [3]]
    with pytest.raises(DataError, match=r"line 2, column 'name': .* is not a number.*features="):
        load_file(path)


def test_quotes_keep_delimiters_and_line_breaks_in_their_cell(write):
    data = load_file(write('"height, cm","weight\nkg",y\n1,2,3\n'))
    assert data.feature_names == ("height, cm", "weight\nkg")
    with pytest.raises(DataError, match="line 4, column 'y': 'x' is not"):
        load_file(write('"height, cm","weight\nkg",y\n1,2,3\n1,2,x\n'))


def test_quoted_names_do_not_choose_the_delimiter(write):
    assert load_file(write('"a, b, c, d";"e, f"\n1;2\n')).feature_names == ("a, b, c, d",)
    assert load_file(write('"a;b;c","d;e;f"\n1,2\n')).target_name == "d;e;f"
    with pytest.raises(DataError, match="line 2: 2 cells; the header has 3"):
        load_file(write("a;b;c\n1;2\n"))


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1))
def test_numbers_come_back_exactly(rows):
    content = "a,b,c\n" + "\n".join(",".join(map(repr, row)) for row in rows)
    assert read_csv(content.encode(), "t.csv").values.tolist() == rows


# ---- CSV that is refused ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "table.csv is empty"),
        ("\n \n\n", "table.csv is empty"),
        ("a,b\n", "has a header and no rows"),
        ("a\n1\n2\n", "one column, 'a'"),
        ("1,2\n3,4\n", "begins with numbers"),
        ("a,,c\n1,2,3\n", "column 2 of 3 has no name"),
        ("a,b,a\n1,2,3\n", "two columns are named 'a'"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells; the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells; the header has 2.*Quote"),
        ("a,b\n\n1,\n", "line 3, column 'b': the value is missing"),
        ("a,b\n1,NA\n", "line 2, column 'b': the value is missing"),
        ("a,b\nNaN,1\n", "line 2, column 'a': the value is missing"),
        ("a,b\n?,1\n", "missing"),
        ("a,b\n,\n", "line 2, column 'a': the value is missing"),
        ("a,b\n1,inf\n", "'inf' is not a finite number"),
        ("a,b\n1,1e999\n", "'1e999' is not a finite number"),
        ("a,b\n1,two\n", "line 2, column 'b': 'two' is not a number"),
        ("a;b\n1;2,5\n", "'2,5' is not a number. Write decimals with a point"),
        ("a,b\n1,1_000\n", "'1_000' is not a number"),
        ("a,b\n1,٣\n", "is not a number"),
        ("a,b\n1," + "z" * 500 + "\n", "z…' is not a number"),
        ('a,b\n1,"2\n', "line 2: .*Check the quotes"),
        ('a,b\n1,"2"3\n', "line 2: .*Check the quotes"),
        ("a,b\n1,\0\n", "table.csv, line 2"),
        (b"a,b\n1,\xff\n", "not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
        ("a,b\n1," + "1" * 200_000 + "\n", "line 2"),
    ],
)
def test_tables_that_are_wrong_and_where(write, content, message):
    with pytest.raises(DataError, match=message):
        load_file(write(content))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "z"}, DataError, "has no column 'z'. It has 'a', 'b', 'c'"),
        ({"target": 3}, DataError, "has no column 3"),
        ({"target": -4}, DataError, "has no column -4"),
        ({"target": True}, DataError, "column True is a bool"),
        ({"target": 1.0}, DataError, "column 1.0 is a float"),
        ({"features": []}, ArgumentError, "features is empty"),
        ({"features": ["a", "c"]}, ArgumentError, "asked for twice"),
        ({"features": ["a", 0]}, ArgumentError, "asked for twice"),
        ({"features": ["z"]}, DataError, "no column 'z'"),
    ],
)
def test_columns_that_are_not_there(write, options, error, message):
    with pytest.raises(error, match=message):
        load_file(write("a,b,c\n1,2,3\n"), **options)


def test_a_long_list_of_columns_is_cut():
    with pytest.raises(DataError, match="'c11' and 88 more"):
        column_index([f"c{number}" for number in range(100)], "x", "t.csv")


def test_paths_that_cannot_be_read(tmp_path, write):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_file(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load_file(tmp_path / "folder.csv")
    with pytest.raises(DataError, match=r"cannot be read: .*null"):
        load_file("a\0b.csv")
    with pytest.raises(DataError, match=r"ends in '.xlsx'"):
        load_file(write("", "table.xlsx"))
    with pytest.raises(ArgumentError, match="path is a int"):
        load_file(3)


CELLS = st.sampled_from(["1", "2.5", "", "a", "b", '"', '""', ",", ";", "\t", "\n", "\r", " ", "nan", "\0", "\ufeff"])


@settings(max_examples=300)
@given(st.text() | st.lists(CELLS).map("".join), st.sampled_from([None, "a", 0, -1]))
def test_any_text_is_a_table_or_a_data_error(text, column):
    content = text.encode("utf-8", "surrogatepass")
    try:
        table = read_csv(content, "t.csv", None if column is None else [column])
    except DataError as error:
        message = str(error)
    else:
        message = "t.csv is fine"
        assert np.isfinite(table.values).all()
        assert len(set(table.names)) == len(table.names) == table.values.shape[1] > 0
        assert len(table.values) > 0
    assert "t.csv" in message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_data_error(content):
    for read in (lambda: read_csv(content, "t.csv"), lambda: read_npz(content, "t.npz", ["x"])):
        with contextlib.suppress(DataError):
            read()


# ---- NPZ ----


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_from_npz(write):
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.5, 1, 2], np.float32)
    data = load_file(write(packed(x=x, y=y), "a.npz"))
    assert (data.x.dtype, data.y.dtype, data.y.shape) == (np.float32, np.float32, (3, 1))
    assert (data.feature_names, data.target_name, data.name) == (("x0", "x1"), "y", "a")
    data = load_file(
        write(packed(pictures=np.zeros((3, 8, 8)), labels=[0, 1, 2]), "a.npz"), "labels", features="pictures"
    )
    assert (data.x.shape, data.y.shape, data.y.dtype.kind) == ((3, 8, 8), (3,), "i")
    assert load_file(write(packed(x=x, y=x), "a.npz")).y.shape == (3, 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2))}, "no array 'y'. It has 'x'"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "'x' has 3, a.npz: 'y' has 2"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, r"'x' has shape \(3,\); expected \(rows, features\).*reshape"),
        ({"x": np.zeros((3, 2)), "y": np.zeros((3, 1, 1))}, r"'y' has shape \(3, 1, 1\)"),
        ({"x": np.zeros((3, 2)), "y": np.array(1.0)}, "'y' is a single"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "'x' is empty"),
        ({"x": np.array([[0.0], [np.nan]]), "y": np.zeros(2)}, "'x' holds a value that is not finite in row 1"),
        ({"x": np.array([["a"]]), "y": np.zeros(1)}, "'x' has dtype <U1"),
        ({"x": np.array([[None]]), "y": np.zeros(1)}, "'x' cannot be read: .*Python objects"),
    ],
)
def test_archives_that_are_wrong_and_where(write, arrays, message):
    with pytest.raises(DataError, match=message):
        load_file(write(packed(**arrays), "a.npz"))


def test_what_is_no_archive(write):
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    with pytest.raises(DataError, match="holds a single array"):
        load_file(write(single.getvalue(), "a.npz"))
    for content in (b"", b"PK\x03\x04broken", b"a,b\n1,2\n"):
        with pytest.raises(DataError, match=r"a.npz is no .npz archive.*np.savez"):
            load_file(write(content, "a.npz"))
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("x", "not an array")
    with pytest.raises(DataError, match="'x'"):
        load_file(write(text.getvalue(), "a.npz"))
    with pytest.raises(ArgumentError, match="holds named arrays"):
        load_file(write(packed(x=np.zeros((1, 1)), y=np.zeros(1)), "a.npz"), target=0)


GOOD = packed(x=np.zeros((3, 2)), y=np.zeros(3))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_archive_is_read_or_a_data_error(changes):
    content = bytearray(GOOD)
    for position, value in changes:
        content[position] = value
    with contextlib.suppress(DataError):
        read_npz(bytes(content), "t.npz", ["x", "y"])
