"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const picture = document.querySelector("#figure svg");
  const beats = data.beats;
  if (!beats.length) return;

  const words = data.words;
  const say = (key, parts = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  const shape = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const number = (x) => {
    if (x === null) return "–";
    const size = Math.abs(x);
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) return x.toExponential(1).replace("e+", "e");
    return x.toFixed(size >= 100 ? 1 : 3);
  };
  const bytes = (n) => {
    if (n < 1000) return n + " B";
    for (const unit of ["kB", "MB", "GB", "TB"]) {
      n /= 1000;
      if (n < 999.5 || unit === "TB") return n.toFixed(n < 99.95 ? 1 : 0) + " " + unit;
    }
  };

  // What each part of the picture is filled by: the place of a beat in the list.
  const place = new Map(beats.map((beat, i) => [String(beat.number), i]));
  const boxes = [...picture.querySelectorAll("g[data-kind][id]")];
  const filled = new Map();
  const byId = new Map();
  for (const box of boxes) {
    const name = box.id.slice(box.id.indexOf("-") + 1);
    byId.set(name, box);
    filled.set(name, box.dataset.step === undefined ? -1 : place.get(box.dataset.step) ?? -1);
  }
  const edges = [...picture.querySelectorAll("g[data-from]")].map((node) => ({
    node, kind: node.dataset.kind, from: node.dataset.from, to: node.dataset.to,
  }));

  let current = beats.length - 1;
  let timer = 0;

  // -- the panel -----------------------------------------------------------------------------------

  const heat = (value) => {
    const rows = value.table.length, columns = value.table[0].length;
    const limit = Math.max(1e-300, ...value.table.flat().map((x) => Math.abs(x ?? 0)));
    const cell = Math.max(4, Math.min(11, Math.floor(150 / Math.max(rows, columns))));
    const map = shape("svg", { width: columns * cell, height: rows * cell, role: "img" });
    map.setAttribute("aria-label", say("heat", { name: value.name, limit: number(limit) }));
    value.table.forEach((row, i) => row.forEach((x, j) => {
      const rect = shape("rect", { x: j * cell, y: i * cell, width: cell, height: cell });
      rect.setAttribute("fill", x === null ? "var(--tb-focus)" : x < 0 ? "var(--tb-backward)" : "var(--tb-forward)");
      rect.setAttribute("fill-opacity", x === null ? 1 : (Math.abs(x) / limit).toFixed(2));
      map.append(rect);
    }));
    const figure = make("figure");
    figure.append(map, make("figcaption", `${value.name}, ±${number(limit)}`));
    return figure;
  };

  const valueParts = (ids) => {
    const known = ids.map((id) => data.values[id]).filter(Boolean);
    const parts = [];
    if (known.some((value) => value.stats)) {
      const table = make("table");
      const head = table.createTHead().insertRow();
      for (const word of ["", words.mean, words.std, words.min, words.max]) {
        const cell = make("th", word);
        cell.scope = "col";
        head.append(cell);
      }
      const body = table.createTBody();
      for (const value of known.filter((value) => value.stats)) {
        const row = body.insertRow();
        row.append(make("td", value.name), ...value.stats.map((x) => make("td", number(x))));
      }
      parts.push(table);
    }
    for (const value of known) {
      if (!value.nonfinite) continue;
      parts.push(make("p", say("nonfinite", { name: value.name, count: value.nonfinite }), "muted"));
    }
    const maps = make("div", undefined, "maps");
    maps.append(...known.filter((v) => v.table.length && v.table[0].length && !v.scalar).slice(0, 3).map(heat));
    if (maps.childElementCount) parts.push(maps);
    return parts;
  };

  const panel = (beat) => {
    const parts = [make("span", say("at", { phase: words[beat.phase], number: beat.number }), "badge " + beat.phase)];
    for (const formula of beat.formulas) parts.push(make("h3", formula));
    if (beat.shapes) parts.push(make("p", beat.shapes, "muted"));
    parts.push(make("p", beat.sentence));
    if (beat.flops) parts.push(make("p", say("flops", { count: beat.flops.toLocaleString("en") }), "muted"));
    $("step").replaceChildren(...parts, ...valueParts(beat.values));
  };

  const valuePanel = (id) => {
    const value = data.values[id];
    if (!value) return;
    const title = value.note ? `${value.name}: ${value.note}` : value.name;
    $("step").replaceChildren(make("span", words[value.role], "badge " + value.role), make("h3", title),
      make("p", value.shape, "muted"), ...valueParts([id]));
  };

  // -- memory --------------------------------------------------------------------------------------

  const bars = (() => {
    const width = 300, height = 62, peak = Math.max(1, ...beats.map((beat) => beat.held));
    const chart = shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    const step = width / beats.length;
    const all = beats.map((beat, i) => {
      const tall = Math.max(1, (beat.held / peak) * (height - 2));
      const bar = shape("rect", {
        x: (i * step + step * 0.08).toFixed(2), y: (height - tall).toFixed(2), width: (step * 0.84).toFixed(2),
        height: tall.toFixed(2), class: "fill-" + beat.phase,
      });
      bar.addEventListener("click", () => go(i));
      chart.append(bar);
      return bar;
    });
    $("bars").append(chart);
    return all;
  })();

  const keptNow = (beat) => {
    const now = data.kept.filter(([, , first, last]) => first <= beat.last && (last === null || last > beat.last));
    if (!now.length) return words.nothing;
    const names = now.map(([name]) => name);
    const list = names.slice(0, 8).join(", ") + (names.length > 8 ? say("more", { count: names.length - 8 }) : "");
    return say("kept", { list, amount: bytes(now.reduce((sum, item) => sum + item[1], 0)) });
  };

  // -- one step ------------------------------------------------------------------------------------

  const paint = () => {
    const beat = beats[current];
    const now = new Set(beat.boxes);
    for (const [name, box] of byId) {
      box.classList.toggle("later", filled.get(name) > current);
      box.classList.toggle("now", now.has(name));
    }
    for (const { node, kind, from, to } of edges) {
      const start = filled.get(from) ?? -1, end = to === undefined ? start : filled.get(to) ?? -1;
      node.classList.toggle("later", kind === "kept" ? start > current : Math.max(start, end) > current);
      node.classList.toggle("used", kind === "kept" && to !== undefined && end < current);
    }
    bars.forEach((bar, i) => bar.classList.toggle("now", i === current));
    panel(beat);
    $("kept").textContent = keptNow(beat);
    $("slider").value = current + 1;
    const last = beats[beats.length - 1].number;
    const where = say("of", { number: beat.number, last, phase: words[beat.phase] });
    $("slider").setAttribute("aria-valuetext", where);
    $("where").textContent = where;
    $("back").disabled = current === 0;
    $("next").disabled = current === beats.length - 1;
  };

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (behavior = still.matches ? "auto" : "smooth") => {
    const box = byId.get(beats[current].boxes[0]);
    if (!box) return;
    // Within the figure where it scrolls by itself, as on a phone; else within the window, under the bar.
    const figure = $("figure"), frame = figure.getBoundingClientRect(), at = box.getBoundingClientRect();
    const inside = figure.scrollHeight > figure.clientHeight + 4;
    const top = inside ? frame.top : $("bar").offsetHeight, bottom = inside ? frame.bottom : innerHeight;
    const up = at.top < top + 8 || at.bottom > bottom - 8 ? (at.top + at.bottom - top - bottom) / 2 : 0;
    const across = at.left < frame.left || at.right > frame.right ? (at.left + at.right - frame.left - frame.right) / 2 : 0;
    figure.scrollBy({ left: across, top: inside ? up : 0, behavior });
    if (!inside && up) scrollBy({ top: up, behavior });
  };

  const go = (i, fromUser = true) => {
    current = Math.max(0, Math.min(beats.length - 1, i));
    paint();
    if (fromUser) {
      show();
      history.replaceState(null, "", "#step=" + beats[current].number);
    }
  };

  const stop = () => {
    clearInterval(timer);
    timer = 0;
    $("play").textContent = words.play;
    $("play").setAttribute("aria-pressed", "false");
  };
  const play = () => {
    if (timer) return stop();
    if (current === beats.length - 1) go(0);
    $("play").textContent = words.pause;
    $("play").setAttribute("aria-pressed", "true");
    timer = setInterval(() => (current < beats.length - 1 ? go(current + 1) : stop()), 1100);
  };

  $("slider").max = beats.length;
  $("slider").addEventListener("input", (event) => { stop(); go(Number(event.target.value) - 1); });
  $("back").addEventListener("click", () => { stop(); go(current - 1); });
  $("next").addEventListener("click", () => { stop(); go(current + 1); });
  $("play").addEventListener("click", play);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) { event.preventDefault(); stop(); go(current + move); }
    else if (event.key === "Home") { event.preventDefault(); stop(); go(0); }
    else if (event.key === "End") { event.preventDefault(); stop(); go(beats.length - 1); }
    else if (event.key === " " && !event.target.matches("button")) { event.preventDefault(); play(); }
  });
  picture.addEventListener("click", (event) => {
    const box = event.target.closest("g[data-kind][id]");
    if (!box) return;
    stop();
    if (box.dataset.step !== undefined && place.has(box.dataset.step)) go(place.get(box.dataset.step));
    else if (box.dataset.value !== undefined) valuePanel(box.dataset.value);
  });

  // -- the path of a value: what a parameter acts on, and what its gradient comes from ----------------

  const reach = (start, forward) => {
    const seen = new Set([start]);
    const queue = [start];
    while (queue.length) {
      const here = queue.pop();
      for (const { kind, from, to } of edges) {
        if (kind === "kept" || to === undefined) continue;
        const [a, b] = forward ? [from, to] : [to, from];
        if (a === here && !seen.has(b)) { seen.add(b); queue.push(b); }
      }
    }
    return seen;
  };
  const trace = (name) => {
    const kind = byId.get(name).dataset.kind;
    const path = new Set([name]);
    if (kind === "parameter" || kind === "gradient") {
      const other = (kind === "parameter" ? "u" : "p") + name.slice(1).split("_")[0];
      const from = kind === "parameter" ? name : other, to = kind === "parameter" ? other : name;
      if (byId.has(from) && byId.has(to)) {
        const back = reach(to, false);
        for (const node of reach(from, true)) if (back.has(node)) path.add(node);
      }
    }
    for (const edge of edges) {
      const inside = path.size > 1 ? path.has(edge.from) && path.has(edge.to) : edge.from === name || edge.to === name;
      edge.node.classList.toggle("aside", !inside);
      edge.node.classList.toggle("path", inside);
    }
    if (path.size === 1) for (const { from, to } of edges) {
      if (from === name && to) path.add(to);
      if (to === name) path.add(from);
    }
    for (const [id, box] of byId) {
      box.classList.toggle("aside", !path.has(id));
      box.classList.toggle("path", path.has(id));
    }
  };
  const untrace = () => {
    for (const node of picture.querySelectorAll("g.aside, g.path")) node.classList.remove("aside", "path");
  };
  if (edges.length <= 1500 && matchMedia("(hover: hover)").matches) {
    let waiting = 0;
    picture.addEventListener("pointerover", (event) => {
      clearTimeout(waiting);
      const box = event.target.closest("g[data-kind][id]");
      waiting = setTimeout(() => {
        if (box && !timer) trace(box.id.slice(box.id.indexOf("-") + 1));
        else untrace();
      }, box ? 350 : 60);
    });
    picture.addEventListener("pointerleave", () => {
      clearTimeout(waiting);
      untrace();
    });
  }

  // -- the loss, batch by batch ----------------------------------------------------------------------

  const losses = data.history.flatMap((part, i) => part.map((loss, j) => ({ loss, epoch: i + 1, batch: j + 1 })));
  if (losses.length > 1) {
    const width = 300, height = 90;
    const finite = losses.filter((item) => item.loss !== null).map((item) => item.loss);
    const low = Math.min(...finite), high = Math.max(...finite);
    const x = (i) => 4 + (i / (losses.length - 1)) * (width - 8);
    const y = (loss) => height - 6 - ((loss - low) / (high - low || 1)) * (height - 12);
    const chart = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words.loss_chart });
    let start = 0;
    for (const part of data.history.slice(0, -1)) {
      start += part.length;
      const at = x(start - 0.5);
      chart.append(shape("line", { x1: at, x2: at, y1: 0, y2: height, class: "tick" }));
    }
    let pen = "M";
    let path = "";
    losses.forEach(({ loss }, i) => {
      if (loss === null) { pen = "M"; return; }
      path += `${pen}${x(i).toFixed(1)} ${y(loss).toFixed(1)}`;
      pen = "L";
      if (losses.length <= 60) chart.append(shape("circle", { cx: x(i), cy: y(loss), r: 2.2, class: "dot" }));
    });
    chart.append(shape("path", { d: path, class: "line" }));
    const mark = shape("circle", { r: 4.5, class: "dot" });
    chart.append(mark);
    const tell = (i) => {
      const { loss, epoch, batch } = losses[i];
      const before = i > 0 ? say("before", { loss: number(losses[i - 1].loss) }) : "";
      mark.setAttribute("cx", x(i));
      mark.setAttribute("cy", y(loss ?? low));
      $("loss").textContent = say("loss", { epoch, batch, loss: number(loss) }) + before;
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const at = Math.round(((event.clientX - box.left) / box.width) * (losses.length - 1));
      tell(Math.max(0, Math.min(losses.length - 1, at)));
    });
    chart.addEventListener("pointerleave", () => tell(losses.length - 1));
    $("chart").append(chart);
    tell(losses.length - 1);
    $("losses").hidden = false;
  }

  // -- light and dark, and the link to a step --------------------------------------------------------

  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  const linked = () => {
    const found = /^#step=(\d+)$/.exec(location.hash);
    return found && place.has(found[1]) ? place.get(found[1]) : null;
  };
  addEventListener("hashchange", () => { const i = linked(); if (i !== null && i !== current) go(i); });

  $("bar").hidden = false;
  $("side").hidden = false;
  const first = linked();
  go(first ?? current, false);
  if (first !== null) show("auto");
  requestAnimationFrame(() => document.body.classList.add("moving"));
})();
