"""The pictures of the report as files of their own."""

import re
from xml.etree import ElementTree

import pytest
from report_pages import example

from tinygrad_batch.batchlab import compare
from tinygrad_batch.batchlab.report.pictures import pictures
from tinygrad_batch.draw.palette import DARK, LIGHT, colours

WALKS = {"walk-bowl", "walk-saddle", "walk-minima"}


@pytest.mark.parametrize(("theme", "palette", "other"), [("light", LIGHT, DARK), ("dark", DARK, LIGHT)])
def test_each_is_sound_and_has_the_colours_of_its_theme(theme, palette, other):
    drawn = pictures(example("diabetes"), theme)
    assert len(drawn) > 20
    assert set(drawn) > WALKS
    for name, drawing in drawn.items():
        root = ElementTree.fromstring(drawing)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.get("width")) > 200
        assert root.find("{http://www.w3.org/2000/svg}title").text, name
        used = set(re.findall(r"#[0-9A-Fa-f]{6}", drawing))
        assert used <= set(colours(palette)), name
        assert not used & (set(colours(other)) - set(colours(palette)))
        assert "var(" not in drawing
        assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.usefixtures("no_charts")
def test_without_matplotlib_there_are_the_walks():
    assert set(pictures(example("diabetes"))) == WALKS


def test_a_comparison_saves_them(tmp_path):
    found = compare("diabetes", [1, 32, None], parts=["memory"])
    paths = found.save_pictures(tmp_path / "new" / "folder", theme="dark")
    assert [path.name for path in paths] == ["memory-bytes.svg", "memory-checkpoints.svg"]
    assert all(DARK.background in path.read_text(encoding="utf-8") for path in paths)
