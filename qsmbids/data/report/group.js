// Strip plots of the group page: every run a point, the same run marked in all lines.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("group-data").textContent);
  const tip = document.getElementById("tip");
  const EDGE = 10; // room for points at the ends
  const LIMIT = 3;
  const DENSE = 80; // runs in a line above which points are smaller
  const drawn = new Map(); // svg -> what is in it

  const quantile = (sorted, share) => {
    const place = share * (sorted.length - 1);
    const low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };

  const summary = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const median = quantile(sorted, 0.5);
    const away = values.map((v) => Math.abs(v - median)).sort((a, b) => a - b);
    return {
      median, spread: 1.4826 * quantile(away, 0.5),
      low: sorted[0], high: sorted.at(-1),
      q1: quantile(sorted, 0.25), q3: quantile(sorted, 0.75), n: values.length,
    };
  };

  // One run at a hundred times the others must not squeeze them into a line.
  const range = ({ median, spread, low, high }) =>
    spread > 0 ? [Math.max(low, median - 10 * spread), Math.min(high, median + 10 * spread)] : [low, high];

  const widened = ([low, high]) => {
    const room = 0.03 * (high - low) || Math.abs(high) * 0.05 || 1e-3;
    return [low - room, high + room];
  };

  const ticks = ([low, high], count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return found.map((t) => [t, signed(Math.abs(t) < step / 1e6 ? (0).toFixed(digits) : tickText(t, digits))]);
  };
  const tickText = (t, digits) => (Math.abs(t) >= 1e5 || digits > 5 ? t.toExponential(0) : t.toFixed(digits));
  const signed = (text) => text.replace("-", "\u2212");

  const shown = (value, unit, chi) => {
    const text = chi ? (value > 0 ? "+" : "") + value.toFixed(4) : String(Number(value.toPrecision(4)));
    return signed(text) + (unit ? " " + unit : "");
  };

  // Points that would lie on each other are put one above the other, around the middle.
  const stacked = (xs, radius, middle) => {
    const bins = new Map();
    const slots = xs.map((x) => {
      const bin = Math.round(x / (2 * radius));
      const slot = bins.get(bin) ?? 0;
      bins.set(bin, slot + 1);
      return slot;
    });
    const most = Math.max(1, ...bins.values());
    const step = Math.min(2 * radius, (2 * (middle - radius - 1)) / most);
    return slots.map((slot) => middle + (slot % 2 ? 1 : -1) * Math.ceil(slot / 2) * step);
  };

  const axis = (scale, marks, y) =>
    marks.map(([value, text]) => `<text x="${scale(value).toFixed(1)}" y="${y}">${text}</text>`).join("");

  function drawRow(cell, row, spec, domain, own) {
    const width = Math.max(160, Math.round(cell.clientWidth));
    const height = own ? 46 : 32;
    const middle = 16;
    const stats = summary(row.values);
    const [low, high] = own ? widened(range(stats)) : domain;
    const inside = (v) => Math.min(high, Math.max(low, v));
    const scale = (v) => EDGE + ((inside(v) - low) / (high - low)) * (width - 2 * EDGE);
    const marks = ticks([low, high], Math.max(2, Math.round(width / (own ? 130 : 90))));
    const radius = stats.n > DENSE ? 2 : 3.4;
    const xs = row.values.map(scale);
    const ys = stacked(xs, radius, middle);
    let svg = marks
      .map(([t]) => `<line class="${Math.abs(t) < 1e-12 ? "zero" : "grid"}" x1="${scale(t)}" x2="${scale(t)}" y1="0" y2="${own ? 32 : height}"/>`)
      .join("");
    if (stats.n >= 5) {
      const block = (name, a, b, top) =>
        `<rect class="${name}" x="${scale(a)}" width="${Math.max(1, scale(b) - scale(a))}" y="${top}" height="${2 * (middle - top)}"/>`;
      svg += block("band", stats.median - LIMIT * stats.spread, stats.median + LIMIT * stats.spread, 3);
      svg += block("box", stats.q1, stats.q3, 6);
    }
    const flagged = row.z.map((z) => z !== null && Math.abs(z) > LIMIT);
    const d = radius + 1.6;
    const at = (i) => `M${xs[i].toFixed(1)} ${ys[i].toFixed(1)}`;
    const dots = xs.map((_, i) => (flagged[i] ? "" : `${at(i)}m${-radius} 0a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`));
    const beyond = row.values.map((v) => (v > high ? 1 : v < low ? -1 : 0)); // drawn as an arrow
    const stars = xs.map((_, i) => {
      if (!flagged[i]) return "";
      if (beyond[i]) return `${at(i)}m${-beyond[i] * d} ${-d - 1}l${beyond[i] * 2 * d} ${d + 1}l${-beyond[i] * 2 * d} ${d + 1}z`;
      return `${at(i)}m0 ${-d}l${d} ${d}l${-d} ${d}l${-d} ${-d}z`;
    });
    svg += `<path class="point" d="${dots.join("")}"/><path class="diamond" d="${stars.join("")}"/>`;
    if (stats.n >= 5) {
      const [q1, middleOf, q3] = [stats.q1, stats.median, stats.q3].map((v) => scale(v).toFixed(1));
      svg += `<path class="halo" d="M${middleOf} 3V29"/><path class="median" d="M${middleOf} 4V28"/>`;
      if (stats.n > DENSE) svg += `<path class="quartile" d="M${q1} 8V24M${q3} 8V24"/>`;
    }
    svg += `<circle class="marker" r="${radius + 3}" cx="0" cy="0"/>`;
    if (own) svg += axis(scale, marks, 44);
    cell.innerHTML = `<svg class="${stats.n > DENSE ? "dense" : ""}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" tabindex="0" role="group" aria-roledescription="strip plot">${svg}</svg>`;
    const element = cell.firstChild;
    const count = flagged.filter(Boolean).length;
    element.setAttribute("aria-label", `${row.name}: ${stats.n} runs, median ${shown(stats.median, row.unit, spec.shared)}, ${count} flagged`);
    const order = xs.map((_, i) => i).sort((a, b) => row.values[a] - row.values[b]);
    drawn.set(element, { row, spec, xs, ys, order, current: -1, marker: element.querySelector(".marker") });
  }

  function drawPanel(panel, own) {
    const spec = data.panels[panel.id];
    const head = panel.querySelector("thead .strip");
    const cells = [...panel.querySelectorAll("tbody .strip")];
    cells.forEach((cell) => drawn.delete(cell.firstChild));
    const separate = own || !spec.shared;
    const ranges = spec.rows.map((row) => range(summary(row.values)));
    const domain = widened([Math.min(...ranges.map((r) => r[0])), Math.max(...ranges.map((r) => r[1]))]);
    head.innerHTML = "";
    for (const cell of cells) cell.innerHTML = ""; // so that the table, not the old plot, sets the width
    const width = Math.max(160, Math.round(cells[0].clientWidth));
    if (!separate) {
      const scale = (v) => EDGE + ((v - domain[0]) / (domain[1] - domain[0])) * (width - 2 * EDGE);
      const marks = ticks(domain, Math.max(2, Math.round(width / 90)));
      head.innerHTML = `<svg viewBox="0 0 ${width} 18" width="${width}" height="18" aria-hidden="true">${axis(scale, marks, 12)}</svg>`;
    }
    spec.rows.forEach((row, i) => drawRow(cells[i], row, spec, domain, separate));
    mark(pinned);
  }

  let pinned = -1;
  function mark(run) {
    for (const [element, plot] of drawn) {
      if (!element.isConnected) { drawn.delete(element); continue; }
      const i = run < 0 ? -1 : plot.row.runs.indexOf(run);
      plot.marker.style.visibility = i < 0 ? "hidden" : "visible";
      if (i >= 0) {
        plot.marker.setAttribute("cx", plot.xs[i]);
        plot.marker.setAttribute("cy", plot.ys[i]);
      }
    }
  }

  function show(element, i) {
    const plot = drawn.get(element);
    plot.current = i;
    const run = plot.row.runs[i];
    const [label, report] = data.runs[run];
    const z = plot.row.z[i];
    const said = `${plot.row.name}: ${shown(plot.row.values[i], plot.row.unit, plot.spec.shared)}` + (z === null ? "" : `, z ${z > 0 ? "+" : ""}${signed(z.toFixed(1))}`);
    const name = document.createElement("b");
    name.textContent = label;
    const hint = document.createElement("i");
    hint.textContent = report ? "click or Enter opens the report" : "has no report";
    tip.replaceChildren(name, said, document.createElement("br"), hint);
    tip.hidden = false;
    const box = element.getBoundingClientRect();
    const zoom = box.width / element.viewBox.baseVal.width;
    const x = box.left + plot.xs[i] * zoom;
    const y = box.top + plot.ys[i] * zoom;
    tip.style.left = `${Math.max(4, Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 16 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 12 : y + 16}px`;
    element.closest("section").querySelector(".said").textContent = `${label}, ${said}`;
    mark(run);
  }

  function hide() {
    tip.hidden = true;
    for (const plot of drawn.values()) plot.current = -1;
    mark(pinned);
  }

  function nearest(event) {
    const element = event.target.closest?.(".strip svg");
    const plot = element && drawn.get(element);
    if (!plot) return null;
    const box = element.getBoundingClientRect();
    const zoom = box.width / element.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / zoom;
    const y = (event.clientY - box.top) / zoom;
    let best = -1;
    let least = 14 ** 2;
    plot.xs.forEach((px, i) => {
      const away = (px - x) ** 2 + (plot.ys[i] - y) ** 2;
      if (away < least) [best, least] = [i, away];
    });
    return best < 0 ? null : [element, best];
  }

  function open(element) {
    const plot = drawn.get(element);
    const report = plot && plot.current >= 0 && data.runs[plot.row.runs[plot.current]][1];
    if (report) window.location.href = encodeURIComponent(report);
  }

  document.addEventListener("pointermove", (event) => {
    const found = nearest(event);
    if (found) show(...found);
    else if (!tip.hidden && !document.activeElement?.matches(".strip svg")) hide();
  });
  document.addEventListener("click", (event) => {
    const found = nearest(event);
    if (!found) return;
    show(...found);
    open(found[0]);
  });
  document.addEventListener("keydown", (event) => {
    const element = document.activeElement;
    const plot = element && drawn.get(element);
    if (!plot || event.altKey || event.ctrlKey || event.metaKey) return;
    const n = plot.order.length;
    const place = plot.order.indexOf(plot.current);
    const next = {
      ArrowRight: Math.min(n - 1, place + 1), ArrowLeft: place < 0 ? n - 1 : Math.max(0, place - 1),
      Home: 0, End: n - 1,
    }[event.key];
    if (next !== undefined) {
      show(element, plot.order[next]);
      event.preventDefault();
    } else if (event.key === "Enter") open(element);
    else if (event.key === "Escape") hide();
  });
  document.addEventListener("focusout", (event) => {
    if (drawn.has(event.target)) hide();
  });

  const sections = [...document.querySelectorAll(".distributions")];
  const redraw = (section) => {
    const chosen = section.querySelector(".choose")?.value;
    const own = section.querySelector(".scaling")?.value === "own";
    for (const panel of section.querySelectorAll(".panel")) {
      panel.hidden = chosen !== undefined && panel.id !== chosen;
      if (!panel.hidden) drawPanel(panel, own);
    }
  };
  for (const section of sections) {
    section.classList.add("drawn");
    redraw(section);
    for (const select of section.querySelectorAll("select")) {
      select.addEventListener("change", () => { hide(); redraw(section); });
    }
    const find = section.querySelector(".find");
    find.addEventListener("input", () => {
      pinned = data.runs.findIndex(([label]) => label === find.value.trim());
      for (const other of document.querySelectorAll(".find")) if (other !== find) other.value = find.value;
      mark(pinned);
    });
  }
  window.addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
  let waiting = 0;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => sections.forEach(redraw));
  });
  document.body.dataset.ready = "true";
})();
