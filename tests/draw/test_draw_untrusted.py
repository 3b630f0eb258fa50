"""Names are untrusted: they must neither break a picture nor inject into it."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import named

from tinygrad_batch.draw import draw, engine, fixed
from tinygrad_batch.draw.palette import LIGHT
from tinygrad_batch.escape import clean, dot, script_json, xml

HOSTILE = [
    '"><script>alert(1)</script>',
    "</script><script>alert(1)</script>",
    "]]></style><b>",
    "&amp; &lt; &#60;",
    "\\N \\G \\L \\",
    "back\\",
    "{a|b|<port> c}",
    "a\x00b\x07c",
    "\ud800 half",
    "\u202eright to left override",
    "שלום (עולם)",
    "w" * 10_000,
    "\u0301" * 500,
    "a\nb\r\nc\u2028d",
    "@@TITLE@@ @@SCRIPT@@",
    "tb-f1 #tb-to-forward",
    "",
    " ",
    ":n:s",
    "<b>bold</b>",
    "<!-- -->",
    "'; DROP TABLE --",
    "\U000e0041\ufffe\uffff\ufdd0",
]

text = st.text(alphabet=st.characters(codec=None), max_size=80) | st.sampled_from(HOSTILE)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.handlers = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name in ("href", "src")]


def check_svg(svg):
    root = ET.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "defs", "marker", "path", "rect", "g", "text", "tspan"}
    for element in root.iter():
        assert not any(name.startswith("on") or name.endswith("href") for name in element.attrib)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert "\x00" not in svg


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
def test_hostile_names(name):
    drawing = draw(named(name), title=name)
    check_svg(drawing.svg())
    drawing.svg().encode("utf-8")
    drawing.text().encode("utf-8")
    check_page(drawing.html())


@settings(max_examples=60, deadline=None)
@given(text)
def test_any_name_gives_well_formed_svg(name):
    check_svg(draw(named(name), title=name).svg())


def check_page(page):
    page.encode("utf-8")
    parser = Tags()
    parser.feed(page)
    assert parser.tags.count("script") == 2
    assert parser.tags.count("style") == 1
    assert parser.tags.count("b") == 0
    assert not parser.handlers
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    content = found[1]
    assert not set("<>&\u2028\u2029") & set(content)
    return json.loads(content)


@settings(max_examples=25, deadline=None)
@given(text)
def test_any_name_gives_a_safe_page(name):
    check_page(draw(named(name), title=name).html())


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_takes_every_name():
    for name in HOSTILE:
        drawing = draw(named(name), title=name)
        root = ET.fromstring(engine.render(drawing.source, "svg"))
        assert not [e for e in root.iter() if e.tag.endswith("}a") or e.tag.endswith("script")]
        root = ET.fromstring(engine.render(fixed.source(drawing._placed, LIGHT), "svg", placed=True))
        assert not [e for e in root.iter() if e.tag.endswith("}a") or e.tag.endswith("script")]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_shows_the_name_as_it_is():
    for name in ("<b>x</b>", "a\\Nb", "&amp;", "c\\", "{p|q}", 'say "x"'):
        drawing = draw(named(name))
        painted = fixed.source(drawing._placed, LIGHT)
        for source, options in ((drawing.source, []), (painted, ["-Knop2"])):
            command = ["dot", *options, "-Tsvg"]
            done = subprocess.run(command, input=source.encode(), capture_output=True, check=True, timeout=60)
            words = [e.text.replace("\xa0", " ") for e in ET.fromstring(done.stdout).iter() if e.tag.endswith("}text")]
            # As often as in the built-in picture: in boxes, headings, frames, labels of lines and under it.
            shown = "".join(e.text or "" for e in ET.fromstring(drawing.svg()).iter() if e.tag.endswith("}tspan"))
            assert "".join(words).count(name) >= shown.count(name) >= 8


def test_quotes_outside_labels_are_ours():
    source = draw(named('"]; evil -> n; x [label="')).source
    assert "evil -> n" not in re.sub(r"<[^<>]*>", "", source).replace("-&gt;", "")


@given(text)
def test_clean_text_is_one_short_line(name):
    cleaned = clean(name)
    assert len(cleaned) <= 170 + 2 * 160
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e]", cleaned)
    cleaned.encode("utf-8")
    ET.fromstring(f'<a b="{xml(cleaned)}">{xml(cleaned)}</a>')
    assert not {"\\", "<", ">", '"'} & set(dot(cleaned))


@given(st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x, max_size=3), max_leaves=5))
def test_json_in_a_script_is_safe(data):
    packed = script_json(data)
    assert packed.isascii()
    assert not set("<>&") & set(packed)
    json.loads(packed)
