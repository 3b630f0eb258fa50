"""Every language says everything, with the same places to fill in; and a picture speaks one of them."""

import json
import re
import string
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

import tinygrad_batch as tb
from tinygrad_batch import nn, optim
from tinygrad_batch.errors import ArgumentError
from tinygrad_batch.languages import language
from tinygrad_batch.languages.chinese import CHINESE
from tinygrad_batch.languages.english import ENGLISH

DRAW = Path(tb.__file__).parent / "draw"
SAME = {"number", "described", "kept", "activations", "title_phases"}  # may be the same in both


def said(words, path=""):
    """Yield (path, text) for every text of a table."""
    if isinstance(words, str):
        yield path, words
    elif is_dataclass(words):
        for field in fields(words):
            yield from said(getattr(words, field.name), f"{path}.{field.name}")
    else:
        items = words.items() if isinstance(words, dict) else enumerate(words)
        for key, item in items:
            yield from said(item, f"{path}.{key}")


def places(text):
    return sorted({name for _, name, _, _ in string.Formatter().parse(text) if name is not None})


def test_languages_say_the_same_things():
    english, chinese = dict(said(ENGLISH)), dict(said(CHINESE))
    notes = {path for path in chinese if path.startswith(".picture.notes.")}  # English has those of the trace
    assert chinese.keys() - notes == english.keys()
    for path, text in english.items():
        assert places(text) == places(chinese[path]), path
    alike = [path for path, text in english.items() if chinese[path] == text]
    assert {path.rpartition(".")[2] for path in alike} <= SAME, alike


def test_chinese_is_in_chinese():
    for path, text in said(CHINESE):
        if path not in (".code", ".comma", ".last", ".number", ".described", ".picture.between", ".picture.stop"):
            assert re.search("[\u4e00-\u9fff]", text) or path in (".picture.kept", ".picture.activations"), path


def test_every_operation_has_a_sentence_or_the_common_one():
    for words in (ENGLISH, CHINESE):
        for phase in ("forward", "backward"):
            assert words.sentence("no such operation", phase) == words.other[phase == "backward"]
            assert words.sentence("tanh", phase, 12).count("12") == 1


def test_the_page_asks_for_nothing_that_is_not_there():
    script = (DRAW / "page.js").read_text(encoding="utf-8")
    page = (DRAW / "page.html").read_text(encoding="utf-8")
    asked = {*re.findall(r"words\.(\w+)", script), *re.findall(r'say\("(\w+)"', script)}
    asked |= set(re.findall("@@([a-z_]+)@@", page))
    known = ENGLISH.picture.page.keys()
    roles = {"forward", "backward", "update", "data", "parameter", "constant", "activation", "gradient"}
    assert known == asked | roles


@pytest.fixture(scope="module")
def trace():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(10, 15, rng=0), nn.Tanh(), nn.Linear(15, 1, rng=1))
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    with tb.capture() as trace:
        nn.MSELoss()(model(rng.normal(size=(20, 10))), rng.normal(size=(20, 1))).backward()
        optimizer.step()
    return trace


ENGLISH_WORDS = re.compile(
    r"\b(forward|backward|update|keeps|rows|parameters|data|chain|rule|needed|step|steps|sum of \d|weights|bias|memory|"
    r"play|loss after|one batch|read)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("depth", ["ops", "modules"])
def test_a_picture_in_chinese(trace, depth):
    drawing = tb.draw(trace, depth=depth, lang="zh")
    shown = " ".join(re.findall(r">([^<]+)<", drawing.svg())) + drawing.text()
    shown = shown.replace("sum over rows of", "")  # of the formulas, which are the same in every language
    assert not ENGLISH_WORDS.findall(shown.replace("rows", "")), ENGLISH_WORDS.findall(shown)
    for word in ("前向", "反向", "更新", "参数", "保留", "链式法则", "均方误差", "权重"):
        assert (word in shown) or (depth == "modules" and word == "权重")
    assert drawing.source.count("前向") > 0
    assert repr(drawing).startswith("<Drawing: 一个 batch")


def test_a_page_in_chinese(trace):
    page = tb.draw(trace, lang="zh", history=[[1.0, 0.5], [0.25]]).html()
    assert '<html lang="zh">' in page
    visible = re.sub(r"<(script|style)[^>]*>.*?</\1>|sum over rows of", "", page, flags=re.DOTALL)
    visible = " ".join(re.findall(r">([^<]+)<", visible) + re.findall(r'(?:aria-label|title)="([^"]*)"', visible))
    assert not ENGLISH_WORDS.findall(visible), ENGLISH_WORDS.findall(visible)
    assert "播放" in visible
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["beats"][0]["sentence"] == CHINESE.sentence("matmul", "forward")
    assert data["words"] == CHINESE.picture.page


def test_names_and_formulas_are_the_same_in_every_language(trace):
    formulas = [result.formula for step in trace.steps for result in step.results]
    pictures = {lang: tb.draw(trace, depth="ops", lang=lang).text() for lang in ("en", "zh")}
    for formula in formulas:
        right = formula.partition("= ")[2]
        if right:
            assert (right in pictures["en"]) == (right in pictures["zh"])


def test_a_language_that_is_not_there(trace):
    with pytest.raises(ArgumentError, match=r"lang='fr'\. Expected one of 'en', 'zh'"):
        tb.draw(trace, lang="fr")
    with pytest.raises(ArgumentError, match="lang="):
        language(None)
