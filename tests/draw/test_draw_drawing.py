import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path

import pytest
from traces import chain, named, recurrent_net, seed_net

import tinygrad_batch as tb
from tinygrad_batch import nn
from tinygrad_batch.draw import draw, engine, engines, fixed, mimebundle, page
from tinygrad_batch.draw.compose import compose
from tinygrad_batch.draw.layout import place
from tinygrad_batch.draw.palette import DARK, LIGHT, contrast
from tinygrad_batch.errors import ArgumentError, DrawError
from tinygrad_batch.trace import Trace

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda name: None)
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: None)


# -- files -------------------------------------------------------------------------------------------


def test_every_text_format_works_without_an_engine(tmp_path, no_engine):
    drawing = draw(seed_net())
    for suffix, start in (
        (".svg", "<svg"),
        (".html", "<!doctype html>"),
        (".dot", "digraph"),
        (".txt", "One batch"),
        (".SVG", "<svg"),
    ):
        path = drawing.save(tmp_path / f"batch{suffix}")
        assert path.read_text("utf-8").startswith(start)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_without_an_engine_there_is_one_clear_line(tmp_path, no_engine, suffix):
    with pytest.raises(DrawError, match=r"pip install \"tinygrad-batch\[dot\]\".*\.svg") as caught:
        draw(seed_net()).save(tmp_path / f"batch{suffix}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_was_asked_for_and_is_missing(no_engine):
    for name in ("dot", "pygraphviz"):
        with pytest.raises(DrawError, match=name):
            draw(seed_net(), engine=name).svg()
    assert [e.available for e in engines()] == [False, False, True]


def test_the_suffix_and_the_directory_are_checked(tmp_path):
    drawing = draw(seed_net())
    with pytest.raises(DrawError, match=r"\.jpg.*\.svg"):
        drawing.save(tmp_path / "batch.jpg")
    with pytest.raises(DrawError, match="no suffix"):
        drawing.save(tmp_path / "batch")
    with pytest.raises(DrawError, match="no directory"):
        drawing.save(tmp_path / "missing" / "batch.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(DrawError, match="is a directory"):
        drawing.save(tmp_path / "folder.svg")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "batch.svg"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DrawError, match="No space left"):
        draw(seed_net()).save(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["batch.svg"]


def test_saving_replaces_and_respects_the_umask(tmp_path):
    path = tmp_path / "batch.txt"
    path.write_text("old")
    old = os.umask(0o022)
    try:
        draw(seed_net()).save(str(path))
    finally:
        os.umask(old)
    assert path.read_text("utf-8") != "old"
    assert path.stat().st_mode & 0o777 == 0o644


def test_arguments_are_checked():
    for wrong in (
        {"depth": "layers"},
        {"theme": "blue"},
        {"engine": "neato"},
        {"history": ["a"]},
        {"history": [1, [2]]},
    ):
        with pytest.raises(ArgumentError):
            draw(seed_net(), **wrong)


# -- engines -----------------------------------------------------------------------------------------


@needs_dot
def test_graphviz_draws_png_pdf_and_svg(tmp_path):
    drawing = draw(seed_net())
    assert drawing.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert drawing.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    svg = draw(seed_net(), engine="dot").svg()
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    assert len({name.partition("-")[0] for name in ids}) == 1


@needs_dot
def test_dot_takes_stacked_boxes_and_many_uses():
    for trace in (recurrent_net(), chain(30), seed_net(backward=False), Trace()):
        ET.fromstring(draw(trace, engine="dot").svg())


def test_an_engine_that_fails_or_hangs(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda name: sys.executable)
    with pytest.raises(DrawError, match="dot failed"):
        draw(seed_net(), engine="dot").svg()

    def hang(*_, **options):
        raise subprocess.TimeoutExpired("dot", options["timeout"])

    monkeypatch.setattr(engine.subprocess, "run", hang)
    with pytest.raises(DrawError, match="took more than"):
        draw(seed_net(), engine="dot").svg()


def test_graphviz_is_called_with_a_list_and_on_stdin(monkeypatch):
    calls = []

    def run(command, **options):
        calls.append((command, options))
        return subprocess.CompletedProcess(command, 0, b"<svg></svg>", b"")

    monkeypatch.setattr(engine.shutil, "which", lambda name: "/usr/bin/dot")
    monkeypatch.setattr(engine.subprocess, "run", run)
    draw(named("$(touch x)"), engine="dot").svg()
    ((command, options),) = calls
    assert command == ["/usr/bin/dot", "-Tsvg"]
    assert not options.get("shell")
    assert options["timeout"] > 0


@needs_dot
def test_graphviz_paints_the_built_in_layout_where_it_is():
    drawing = draw(seed_net())
    root = ET.fromstring(engine.render(fixed.source(drawing._placed, LIGHT), "svg", placed=True))
    width, height = (float(root.attrib[name].removesuffix("pt")) for name in ("width", "height"))
    assert abs(width - drawing._placed.width) <= 4
    assert abs(height - drawing._placed.height) <= 4
    assert len([e for e in root.iter() if e.attrib.get("class") == "edge"]) == len(drawing._placed.edges)


def test_too_many_rows_for_pixels(tmp_path):
    for name in ("auto", "dot"):
        with pytest.raises(DrawError, match="too many"):
            draw(chain(500), depth="ops", engine=name).save(tmp_path / "a.png")


def test_large_graphs_never_go_to_graphviz(monkeypatch):
    monkeypatch.setattr(engine, "render", lambda *_: pytest.fail("asked Graphviz"))
    assert draw(chain(400), depth="ops", engine="dot").svg().startswith("<svg")


def test_the_graphviz_package_takes_the_picture_and_styles_it_anew():
    drawing = draw(seed_net())
    graph = drawing.to_graphviz()
    assert type(graph).__name__ == "Digraph"
    lines = [line.strip() for line in drawing.source.splitlines()]
    assert [line.strip() for line in graph.body] == lines[4:-1]  # without the head, three styles and the last bracket
    for line, kind in zip(lines[1:4], ("graph", "node", "edge"), strict=True):
        for name, value in getattr(graph, f"{kind}_attr").items():
            assert f"{name}={value}".replace('"', "") in line.replace('"', "")
    graph.graph_attr["rankdir"] = "LR"
    graph.edge_attr["color"] = "#123456"
    assert "rankdir=LR" in graph.source
    assert 'color="#123456"' in graph.source


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_what_was_styled_anew():
    graph = draw(seed_net()).to_graphviz()
    graph.graph_attr["rankdir"] = "LR"
    assert b"<svg" in graph.pipe("svg")


# -- the same bytes ----------------------------------------------------------------------------------


def test_the_same_bytes_whatever_the_hash_seed():
    code = (
        "import hashlib; from traces import *; from tinygrad_batch.draw import draw\n"
        "for t in (seed_net(), residual_net(), chain(90), recurrent_net()):\n"
        "  d = draw(t)\n"
        "  for s in (d.svg(), d.html(), d.source, d.text()): print(hashlib.sha256(s.encode()).hexdigest())\n"
    )
    here = Path(__file__).parent
    prints = set()
    for seed in ("0", "1", "4242"):
        paths = os.pathsep.join([str(here), str(here.parents[1])])
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True, timeout=120)
        prints.add(done.stdout)
    assert len(prints) == 1


def test_two_drawings_can_share_a_page():
    one, other = (set(re.findall(r'id="([^"]+)"', draw(trace).svg())) for trace in (seed_net(), seed_net(rows=20)))
    assert one.isdisjoint(other)
    assert all(re.fullmatch(r"tb[0-9a-f]{8}-[\w-]+", name) for name in one)


def test_every_box_can_be_addressed():
    root = ET.fromstring(draw(seed_net()).svg())
    groups = {
        e.attrib["id"].partition("-")[2]: e.attrib
        for e in root.iter()
        if e.tag.endswith("}g") and "data-value" in e.attrib
    }
    assert (groups["f3"]["data-step"], groups["f3"]["data-phase"]) == ("3", "forward")
    assert groups["b20"]["data-step"] == "20"
    assert "data-step" not in groups["p4"]
    assert groups["u4"]["data-phase"] == "backward"
    assert root.attrib["role"] == "img"


# -- notebook and text -------------------------------------------------------------------------------


def test_a_notebook_shows_the_picture_and_never_fails(no_engine):
    bundle = draw(seed_net())._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert "no engine" not in bundle["text/plain"]
    assert "image/svg+xml" not in draw(seed_net(), engine="dot")._repr_mimebundle_(include=None, exclude=None)
    assert "image/svg+xml" in mimebundle(seed_net())
    broken = Trace(steps=(replace(seed_net().steps[0], inputs=(99,)),))
    assert "no picture" in mimebundle(broken)["text/plain"]


def test_the_text_picture():
    text = draw(seed_net()).text()
    assert "1 matmul  m1 = x @ W1" in text
    assert "···x, W1···> " in text
    assert "22 only dW1 is needed" in text
    assert "W1 ← W1 − 0.05 dW1" in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert draw(seed_net(backward=False)).text().count("no gradient yet") == 1


# -- the page ----------------------------------------------------------------------------------------


def test_the_page_forbids_the_network_and_allows_only_itself():
    page = draw(seed_net()).html()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert not re.search(r"\b(?:src|href)=", page)
    assert not re.search(r"\sstyle=", page)
    links = set(re.findall(r"https?://[^\s\"']+", page))
    assert links == {"http://www.w3.org/2000/svg"}
    assert "eval(" not in page
    assert "innerHTML" not in page


def test_the_page_carries_the_steps():
    from tinygrad_batch.draw.page import data

    drawing = draw(seed_net())
    content = data(seed_net(), drawing._placed, [[1.0, 0.5]])
    assert len(content["beats"]) == 23
    beat = content["beats"][15]
    assert beat["formulas"] == ["dh2 = dm3 @ W3ᵀ", "dW3 = h2ᵀ @ dm3"]
    assert beat["boxes"] == ["b16", "u6"]
    assert beat["shapes"] == "dm3 100 × 1 → dh2 100 × 10, dW3 10 × 1"
    assert beat["held"] == 28_000
    assert content["kept"][0] == ["x", 8_000, 1, 22]
    assert content["history"] == [[1.0, 0.5]]
    dark = draw(seed_net(), theme="dark").html()
    assert '<html lang="en" data-theme="dark">' in dark
    folded = draw(seed_net(), depth="modules")
    assert len(data(seed_net(), folded._placed)["beats"]) == 9


def test_the_ids_of_the_page_are_in_the_picture():
    page = draw(recurrent_net()).html()
    for box in re.findall(r'"boxes":\[([^]]*)\]', page):
        for name in re.findall(r'"([^"]+)"', box):
            assert f'id="tb-{name}"' in page
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    for name in re.findall(r'\$\("([^"]+)"\)', script):
        assert f'id="{name}"' in page


# -- colours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast(palette):
    pairs = [("ink", "background"), ("muted", "background"), ("ink", "frame"), ("muted", "frame")]
    for kind in ("data", "parameter", "forward", "backward", "loss"):
        ground = f"{kind}_fill"
        pairs += [(kind, ground), ("ink", ground), ("muted", ground)]
    for kind in ("parameter", "forward", "backward"):
        pairs += [(kind, f"{kind}_frame"), ("muted", f"{kind}_frame"), (kind, "background")]
        pairs += [("kept", f"{kind}_frame"), ("loss", f"{kind}_frame")]
    pairs += [
        ("muted", "forward_group"),
        ("muted", "backward_group"),
        ("kept", "forward_group"),
        ("kept", "background"),
    ]
    pairs += [
        ("backward", "parameter_fill"),
        ("loss", "background"),
        ("loss", "forward_group"),
        ("kept", "backward_group"),
    ]
    for text, ground in pairs:
        assert contrast(getattr(palette, text), getattr(palette, ground)) >= 4.5, (text, ground)
    assert all(re.fullmatch("#[0-9A-F]{6}", getattr(palette, field.name)) for field in fields(palette))


def test_only_a_trace_can_be_drawn():
    with pytest.raises(ArgumentError, match=r"draw needs a trace, not a list\. Record one: with tb\.capture"):
        draw([1, 2])


def test_a_trace_prints_in_one_line():
    assert repr(seed_net()) == "<Trace: steps 11 forward, 11 backward, 1 update, 100 rows>"
    assert repr(Trace()) == "<Trace: steps 0 forward, 0 backward, 0 update>"


def test_the_numbers_of_an_update_belong_to_the_formulas_beside_them():
    with tb.capture() as trace:
        net = nn.Sequential(*(nn.Linear(2, 2, rng=i) for i in range(5)))
        optimizer = tb.optim.SGD(net.parameters(), lr=0.1)
        nn.MSELoss()(net(tb.ones(3, 2)), tb.ones(3, 2)).backward()
        optimizer.step()
    update = page.data(trace, place(compose(trace)))["beats"][-1]
    names = [trace.values[i].name for i in update["values"]]
    assert names == [formula.split(" ")[0] for formula in update["formulas"][:-1]]
    assert update["formulas"][-1] == "… 4 more"
