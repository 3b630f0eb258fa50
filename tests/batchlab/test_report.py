"""The page of a comparison: what is on it, and that it is sound, safe and small."""

import base64
import hashlib
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from report_pages import Page, example

from tinygrad_batch.batchlab import compare
from tinygrad_batch.batchlab.report import render
from tinygrad_batch.draw.palette import DARK, LIGHT, contrast

QUESTIONS = {
    "memory": "Does everything fit?",
    "noise": "How wrong is the slope of a batch?",
    "descent": "Who is there first?",
    "saddles": "Who gets stuck at a saddle?",
    "minima": "Who gets caught in a local minimum?",
    "generalisation": "Who does better on rows never seen?",
    "claims": "What does the folklore say?",
}

# ---- what is on it ----


@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_it_is_a_sound_page(name):
    page = Page(render(example(name)))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {"nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert not [tag for tag, attributes in page.tags if "style" in attributes or any(a[:2] == "on" for a in attributes)]
    heads = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert set(heads) == {"col", "row"}
    assert [tag for tag, _ in page.tags].count("caption") == len(page.tables)


def test_questions_are_headings_in_order(page):
    found = [text for tag, text in page.headings if tag == "h2"]
    assert found == ["In one look", *[f"{i} {text}" for i, text in enumerate(QUESTIONS.values(), 1)]]


@pytest.mark.parametrize("part", [*QUESTIONS, "advice", "scenes"])
@pytest.mark.parametrize("gone", ["None", "missing"])
@pytest.mark.usefixtures("no_charts")
def test_a_part_that_was_not_asked_for_is_left_out(data, part, gone):
    data[part] = None
    if gone == "missing":
        del data[part]
    page = Page(render(data))
    there = [text[2:] for tag, text in page.headings if tag == "h2"][1:]
    assert there == [text for name, text in QUESTIONS.items() if name != part]
    assert ('class="take"' in page.main) == (part != "advice")
    assert len(re.findall("data-walk=", page.main)) == (
        0 if part == "scenes" else 2 if part in ("descent", "saddles", "minima") else 3
    )


@pytest.mark.usefixtures("no_charts")
def test_what_is_not_known_is_passed_over(data, diabetes):
    data["weather"] = {"rain": [1, 2]}
    data["memory"]["colour"] = "blue"
    assert render(data) == render(diabetes)


def test_a_comparison_renders_itself(tmp_path):
    found = compare("diabetes", [1, None], parts=["memory", "noise"])
    page = Page(found.save(tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.row("all 353 rows")[1:3] == ["73.4 kB", "0%"]
    assert [text[2:] for tag, text in page.headings if tag == "h2"][1:3] == list(QUESTIONS.values())[:2]


def test_one_batch_size_is_enough(data):
    data["batch_sizes"] = [32]
    assert "32 rows" in Page(render(data)).words


def test_tables_hold_the_numbers(data, page):
    tuned = {one["batch_size"]: one for one in data["descent"]["scaling"]["tuned"]}
    mean = sum(tuned[32]["updates"]) / 4
    summary = page.tables[0]
    assert summary[0][3:7] == ["updates", "epochs", "time", "rate"]
    row = page.row("32 rows")
    assert row[3] == f"{mean:,.0f}"
    assert float(row[4]) == pytest.approx(mean * 32 / 353, rel=0.01)
    assert float(row[6]) == pytest.approx(tuned[32]["rate"], rel=0.01)
    every = {cell for table in page.tables for row in table for cell in row}
    for one in data["descent"]["scaling"]["tuned"]:
        assert f"{sum(one['updates']) / 4:,.0f}" in every
    for v in data["noise"]["variances"][:-1]:
        assert f"{v['measured'] / v['predicted']:.3f}" in every
    for one in data["minima"]:
        assert f"{one['share'] * 100:.0f}%" in every
    for one in data["generalisation"]["comparison"]["matched"]:
        assert f"{one['score']:.3f} ± {one['error']:.3f}" in every


def test_claims_are_told_in_both_languages_with_a_word_for_the_verdict(data, page):
    for claim in data["claims"]:
        assert claim["en"] in page.words
        assert claim["zh"] in page.words
    assert page.words.count("does not hold here") >= sum(c["verdict"] == "does not hold here" for c in data["claims"])
    assert {"zh"} == {attributes["lang"] for tag, attributes in page.tags if "lang" in attributes and tag != "html"}


# ---- sound, safe and small ----


def test_the_same_numbers_give_the_same_bytes(data, diabetes):
    assert render(data) == render(diabetes)


def test_hostile_names_are_only_names(data, page):
    hostile = "\"><script>alert('x')</script><img src=x onerror=y>]]>&@@DATA@@$x_1$\u202e\x00"
    data["name"] = data["net"] = data["generalisation"]["comparison"]["score_name"] = hostile
    for layer in data["memory"]["price"]["layers"]:
        layer["label"] = layer["path"] = hostile
    for claim in data["claims"]:
        claim |= {"en": hostile, "zh": hostile, "because": hostile, "verdict": hostile}
    data["advice"]["reasons"] = [hostile] * 3
    for scene in data["scenes"]:
        scene["names"] = [hostile, hostile]
    found = Page(render(data))
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in page.tags}
    assert [tag for tag, _ in found.tags].count("script") == 2
    names = lambda one: {name for _, attributes in one.tags for name in attributes}
    assert names(found) == names(page)
    assert "\u202e" not in found.source
    assert "\x00" not in found.source


def test_the_browser_is_told_to_load_nothing(page):
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for tag, text in re.findall(r"<(style|script)>(.*?)</\1>", page.source, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.tags if {"src", "srcset", "action"} & set(a)]
    assert re.findall(r"https?:[^\"\s]*", page.source) == ["http://www.w3.org/2000/svg"]  # a name, in the script
    assert "@import" not in page.source


def test_colours_are_variables(page):
    assert re.findall(r"(?:fill|stroke)=\"(?!none|var\(--tb-[a-z-]+\))[^\"]*\"", page.main) == []
    assert not re.search(r"#[0-9a-fA-F]{6}\b", page.main)
    assert "var(--tb-forward)" in page.main


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_what_is_read_stands_out(palette):
    grounds = {
        "ink": ["background", "frame", "parameter_fill", "forward_fill", "forward_group"],
        "muted": ["background", "frame", "data_fill", "forward_group"],
        "forward": ["background", "frame", "forward_fill", "forward_group"],
        "parameter": ["background", "frame", "parameter_fill"],
        "backward": ["background", "frame", "backward_fill"],
        "kept": ["background", "frame", "data_fill"],
        "loss": ["background", "frame"],
        "data": ["background", "frame", "data_fill"],
    }
    for text, below in grounds.items():
        for ground in below:
            assert contrast(getattr(palette, text), getattr(palette, ground)) >= 4.5, (text, ground)


@pytest.mark.usefixtures("no_charts")
def test_without_matplotlib_the_tables_stand_open(data, page):
    found = Page(render(data))
    assert 'pip install "tinygrad-batch[plot]"' in found.source.replace("&quot;", '"')
    pictures = lambda one: [a for tag, a in one.tags if tag == "svg" and a.get("role") == "img"]
    assert len(pictures(found)) == 3  # the walks
    assert len(pictures(page)) > 20
    assert found.tables == page.tables
    opened = [a for tag, a in found.tags if tag == "details" and a["class"] == "numbers"]
    assert opened
    assert all("open" in a for a in opened)
    assert "pip install" not in page.source


def test_walks_are_pictures_and_the_script_gets_their_times(data, page):
    told = json.loads(re.search(r'id="data">(.*?)</script>', page.source).group(1))
    ways = re.findall(r'd="([^"]*)" stroke="[^"]*" class="trail"', page.main)
    walks = [walk for scene in data["scenes"] for walk in scene["walks"]]
    assert list(told) == ["bowl", "saddle", "minima"]
    for walk, way, one in zip(walks, ways, [way for name in told for way in told[name]["ways"]], strict=True):
        assert one["updates"] == walk["updates"]
        assert len(way[1:].split("L")) == len(one["updates"]) == len(one["losses"])


def test_a_whole_comparison_is_a_small_page(data):
    grid, steps = np.linspace(-2, 2, 121), np.random.default_rng(0).normal(0, 0.05, (500, 2)).cumsum(0)
    for scene in data["scenes"]:
        scene |= {"across": grid.tolist(), "up": grid.tolist()}
        scene["heights"] = (np.sin(5 * grid) * np.cos(4 * grid[:, None]) + grid**2).tolist()
        for walk, losses in zip(scene["walks"], scene["losses"], strict=True):
            walk |= {"updates": list(range(0, 5000, 10)), "points": steps[:, None].tolist()}
            losses[:] = np.linspace(3, 0.123456, 500).tolist()
    assert len(render(data).encode()) < 1_000_000
