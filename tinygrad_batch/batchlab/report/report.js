"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const STEPS = 400, SECONDS = 12;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const shape = (tag, attributes, text) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const number = (x) => {
    if (x === null) return "–";
    if (x > 0 && x < 1e-4) return "< 0.0001";
    return x.toLocaleString("en", { maximumSignificantDigits: 3 });
  };

  // -- walks ---------------------------------------------------------------------------------------

  const start = (root) => {
    const { rows, ways } = data[root.dataset.walk];
    const find = (name) => root.querySelector(name);
    const slider = find(".time"), button = find(".play"), now = find(".now");
    const walkers = [...root.querySelectorAll("g[data-size]")].map((group, i) => {
      const trail = group.querySelector(".trail"), mark = group.querySelector(".walker");
      const places = trail.getAttribute("d").slice(1).split("L");
      const row = root.querySelectorAll("tbody tr")[i];
      return { ...ways[i], group, trail, mark, places, row, cells: row.querySelectorAll("td"), shown: true };
    });
    let clock = "epochs", limit = 1, steps = 1, frame = 0;

    // One epoch is rows / size updates; so the same time is another number of updates for each.
    const perTime = (one) => (clock === "epochs" ? rows / one.size : 1);
    const lookAt = (one, time) => {
      const updates = Math.floor(time * perTime(one) + 1e-6);
      let low = 0, high = one.updates.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (one.updates[middle] <= updates) low = middle;
        else high = middle - 1;
      }
      return low;
    };

    const race = (() => {
      const width = 320, height = 210, left = 4, top = 16, bottom = 18;
      const chart = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Loss of the walks by the chosen clock" });
      const x = (time) => left + (time / limit) * (width - 2 * left);
      let hand;
      const draw = () => {
        const known = walkers.flatMap((one) => one.losses.slice(0, lookAt(one, limit) + 1)).filter((loss) => loss > 0);
        const least = Math.max(Math.min(...known), Math.max(...known) * 1e-4), most = Math.max(...known);
        const y = (loss) => {
          const part = Math.log(Math.max(loss, least) / least) / (Math.log(most / least) || 1);
          return height - bottom - part * (height - top - bottom);
        };
        hand = shape("line", { y1: top, y2: height - bottom, class: "hand" });
        chart.replaceChildren(
          shape("line", { x1: left, x2: width - left, y1: height - bottom, y2: height - bottom, class: "axis" }),
          shape("text", { x: left, y: 11 }, `loss, from ${number(most)} down to ${number(least)}, log scale`),
          shape("text", { x: width - left, y: height - 4, "text-anchor": "end" }, clock),
        );
        for (const one of walkers) {
          if (!one.shown) continue;
          const last = lookAt(one, limit);
          let d = "";
          for (let i = 0; i <= last; i++) {
            if (one.losses[i] === null) break;
            const at = x(Math.min(limit, one.updates[i] / perTime(one))).toFixed(1);
            d += i ? `L${at} ${y(one.losses[i]).toFixed(1)}` : `M${at} ${y(one.losses[i]).toFixed(1)}`;
          }
          const line = shape("path", { d, fill: "none", stroke: one.colour, "stroke-width": 1.8, "stroke-linejoin": "round" });
          if (one.dash.length) line.setAttribute("stroke-dasharray", one.dash.map((part) => 1.8 * part).join(" "));
          chart.append(line);
        }
        chart.append(hand);
      };
      find(".race").append(chart);
      return { draw, move: (time) => { hand.setAttribute("x1", x(time)); hand.setAttribute("x2", x(time)); } };
    })();

    const paint = () => {
      const time = (Number(slider.value) / steps) * limit;
      const said = `${number(time)} ${clock}`;
      now.textContent = said;
      slider.setAttribute("aria-valuetext", said);
      for (const one of walkers) {
        const look = lookAt(one, time);
        one.trail.setAttribute("d", "M" + one.places.slice(0, look + 1).join("L"));
        one.mark.setAttribute("transform", `translate(${one.places[look]}) scale(1.2)`);
        one.cells[0].textContent = one.updates[look].toLocaleString("en");
        one.cells[1].textContent = number((one.updates[look] * one.size) / rows);
        one.cells[2].textContent = number(one.losses[look]);
      }
      race.move(time);
    };
    const stop = () => {
      cancelAnimationFrame(frame);
      clearInterval(frame);
      frame = 0;
      button.textContent = "Play";
    };
    const go = (value) => {
      slider.value = value;
      paint();
      if (value >= steps) stop();
    };
    const play = () => {
      if (frame) return stop();
      if (Number(slider.value) >= steps) go(0);
      button.textContent = "Pause";
      const from = Number(slider.value), begun = performance.now();
      if (calm.matches) {  // no motion: a few pictures, one a second
        frame = setInterval(() => go(Math.min(steps, Number(slider.value) + Math.ceil(steps / 10))), 1000);
        return;
      }
      const tick = (at) => {
        const value = Math.min(steps, Math.floor(from + ((at - begun) / 1000 / SECONDS) * steps));
        frame = requestAnimationFrame(tick);
        go(Math.max(from, value));
      };
      frame = requestAnimationFrame(tick);
    };
    const choose = (name) => {
      clock = name;
      limit = Math.min(...walkers.map((one) => one.updates[one.updates.length - 1] / perTime(one)));
      steps = clock === "updates" ? Math.min(STEPS, limit) : STEPS;
      slider.max = steps;
      slider.value = steps;
      race.draw();
      paint();
    };

    slider.addEventListener("input", () => { stop(); paint(); });
    button.addEventListener("click", play);
    for (const radio of root.querySelectorAll(".clock input")) {
      radio.addEventListener("change", () => { stop(); choose(radio.value); });
      radio.checked = radio.value === clock;
    }
    for (const one of walkers) {
      const box = one.row.querySelector("input");
      box.hidden = false;
      box.checked = true;
      box.addEventListener("change", () => {
        one.shown = box.checked;
        one.group.toggleAttribute("hidden", !one.shown);
        one.row.classList.toggle("off", !one.shown);
        race.draw();
        paint();
      });
    }
    find(".controls").hidden = false;
    find(".clock").hidden = false;
    choose(clock);
  };
  document.querySelectorAll("[data-walk]").forEach(start);

  // -- light and dark ----------------------------------------------------------------------

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();
