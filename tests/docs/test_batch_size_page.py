"""The page on what is said about batch size says what its figures say, about every claim, and shows its pictures."""

import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from tinygrad_batch.batchlab import claims

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "batch_size.md").read_text(encoding="utf-8")
DOCUMENT = json.loads((DOCS / "batch_size.json").read_text(encoding="utf-8"))
FIGURES = DOCUMENT["figures"]["batch_size"]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def blocks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from batch_size import blocks

    yield blocks
    for name in [name for name in sys.modules if name.partition(".")[0] == "batch_size"]:
        del sys.modules[name]


def test_every_measured_block_is_what_the_figures_say(blocks):
    assert PAGE.count("<!-- measured: ") == PAGE.count("<!-- end -->") > 30
    assert blocks.refreshed(PAGE, DOCUMENT) == PAGE


def test_every_block_that_can_be_made_is_on_the_page(blocks):
    used = set(re.findall(r"<!-- measured: (.+?) -->", PAGE))
    assert set(blocks.TABLES) < used
    keys = {claim["key"] for one in FIGURES.values() for claim in one["claims"]}
    assert {f"{kind} {key}" for key in keys for kind in ("claim", "verdict")} < used


def test_another_figure_would_be_noticed(blocks):
    changed = json.loads(json.dumps(DOCUMENT))
    changed["figures"]["batch_size"]["digits"]["descent"]["scaling"]["tuned"][2]["rate"] *= 2
    assert blocks.refreshed(PAGE, changed) != PAGE


def test_every_claim_that_the_laboratory_knows_is_judged():
    source = inspect.getsource(claims)
    chinese = set(re.findall(r'^ +"([^"]*[\u4e00-\u9fff][^"]*)",$', source, re.MULTILINE))
    assert len(chinese) >= 15
    assert chinese == {claim["zh"] for one in FIGURES.values() for claim in one["claims"]}


def test_pictures_are_there_and_none_is_left_over():
    shown = set(re.findall(r"\(images/batch_size/([\w-]+\.svg)\)", PAGE))
    assert shown == {path.name for path in (DOCS / "images" / "batch_size").iterdir()}


def test_who_is_first_on_the_three_pictures_of_the_readme():
    found = FIGURES["digits"]["descent"]["scaling"]
    compared = [one for one in found["tuned"] if one["batch_size"] in FIGURES["digits"]["batch_sizes"]]
    updates = {one["batch_size"]: sum(one["updates"]) for one in compared}
    rows = {size: count * size for size, count in updates.items()}
    seconds = {size: count * found["seconds"][str(size)] for size, count in updates.items()}
    assert [min(clock, key=clock.get) for clock in (updates, rows, seconds)] == [1347, 1, 32]
