"use strict";
/* Slices of the maps: one volume of codes per map, re-sliced and windowed here.
   Axes of the volumes run towards right, anterior and superior; x is the fastest. */
(async function () {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const root = document.getElementById("viewer");
  if (!root || !data.shape || !("DecompressionStream" in window)) return;

  const PLANES = {
    axial: { normal: 2, across: 0, up: 1 },
    coronal: { normal: 1, across: 0, up: 2 },
    sagittal: { normal: 0, across: 1, up: 2 },
  };
  const NAMES = ["R", "A", "S"];
  const OPPOSITE = { R: "L", A: "P", S: "I" };
  const cursor = data.start.slice();
  const volumes = {};
  const rows = [];
  const shownMasks = new Set();
  let crosshair = true, shownRegions = false;

  async function volume(key) {
    if (!volumes[key]) volumes[key] = unpack(document.getElementById("volume-" + key).textContent);
    return volumes[key];
  }

  async function unpack(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  /* The part of the grid that is on the screen, [first, end) per axis: the brain, or everything. */
  const whole = data.shape.map((n) => [0, n]);
  let view = data.view;
  let millimetres, tallest;
  function measure() {
    millimetres = view.map(([from, to], axis) => (to - from) * data.voxel[axis]);
    tallest = Math.max(millimetres[1], millimetres[2]);
  }
  measure();

  function number(value) {
    return String(parseFloat(Math.abs(value).toPrecision(3))).replace(/^/, value < 0 ? "\u2212" : "");
  }
  function signed(value, window) {
    return (value > 0 && window[0] < 0 ? "+" : "") + number(value);
  }

  /* Codes of one slice, first row on top, right of the patient (or front) on the left. */
  function slice(codes, plane, index, step) {
    const { normal, across, up } = PLANES[plane];
    const shape = [data.shape[0], data.shape[1], Math.ceil(data.shape[2] / step)];
    const stride = [1, shape[0], shape[0] * shape[1]];
    const right = view[across][1] - 1, top = view[up][1] - 1;
    const width = right + 1 - view[across][0], height = top + 1 - view[up][0];
    const out = new Uint8Array(width * height);
    const at = (axis, i) => Math.min(shape[axis] - 1, axis === 2 ? Math.floor(i / step) : i) * stride[axis];
    const base = at(normal, index);
    let k = 0;
    for (let r = 0; r < height; r++) {
      const start = base + at(up, top - r);
      for (let c = 0; c < width; c++) out[k++] = codes[start + at(across, right - c)];
    }
    return { width, height, codes: out };
  }

  function greys(map, window) {
    const table = new Uint8ClampedArray(256);
    const span = Math.max(1e-9, window[1] - window[0]);
    for (let code = 1; code < 256; code++) table[code] = (255 * (map.values[code] - window[0])) / span;
    return table; // code 0, no value, stays black
  }

  const buffer = document.createElement("canvas");
  function draw(row, plane) {
    const canvas = row.canvases[plane];
    const { normal, across, up } = PLANES[plane];
    const ratio = window.devicePixelRatio || 1;
    const w = Math.round(canvas.clientWidth * ratio), h = Math.round(canvas.clientHeight * ratio);
    if (!w || !h || !row.codes) return;
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, w, h);
    const image = slice(row.codes, plane, cursor[normal], row.map.step);
    const pixels = new ImageData(image.width, image.height);
    const packed = new Uint32Array(pixels.data.buffer);
    for (let i = 0; i < packed.length; i++) {
      const g = row.table[image.codes[i]];
      packed[i] = 0xff000000 | (g << 16) | (g << 8) | g;
    }
    buffer.width = image.width;
    buffer.height = image.height;
    buffer.getContext("2d").putImageData(pixels, 0, 0);
    const scale = w / millimetres[across];
    const tall = millimetres[up] * scale, top = (h - tall) / 2;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(buffer, 0, top, w, tall);
    const sx = w / image.width, sy = tall / image.height;
    if (row.masks) for (const mask of data.masks) {
      if (shownMasks.has(mask.key)) outline(context, row.masks, mask, plane, sx, sy, top, ratio);
    }
    if (row.regions && shownRegions) outlineRegions(context, row.regions, plane, sx, sy, top, ratio);
    if (crosshair) {
      const x = Math.round((view[across][1] - 0.5 - cursor[across]) * sx) + 0.5;
      const y = Math.round(top + (view[up][1] - 0.5 - cursor[up]) * sy) + 0.5;
      context.strokeStyle = "rgba(120, 190, 235, .75)";
      context.lineWidth = 1;
      const gap = 9 * ratio, edge = 24 * ratio; // free for what lies there, and for the letters
      const line = (x0, y0, x1, y1) => {
        if (x1 < x0 || y1 < y0) return;
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      };
      context.beginPath();
      line(edge, y, x - gap, y); line(x + gap, y, w - edge, y);
      line(x, edge, x, y - gap); line(x, y + gap, x, h - edge);
      context.stroke();
    }
    letters(context, data.edges[plane], w, h, ratio);
  }

  function outline(context, codes, mask, plane, sx, sy, top, ratio) {
    const { width, height, codes: bits } = slice(codes, plane, cursor[PLANES[plane].normal], 1);
    const inside = (r, c) => r >= 0 && c >= 0 && r < height && c < width && (bits[r * width + c] & mask.bit) !== 0;
    context.strokeStyle = mask.colour;
    context.lineWidth = 1.3 * ratio;
    context.beginPath();
    for (let r = 0; r <= height; r++) for (let c = 0; c <= width; c++) {
      const here = inside(r, c);
      if (here !== inside(r - 1, c)) { context.moveTo(c * sx, top + r * sy); context.lineTo((c + 1) * sx, top + r * sy); }
      if (here !== inside(r, c - 1)) { context.moveTo(c * sx, top + r * sy); context.lineTo(c * sx, top + (r + 1) * sy); }
    }
    context.stroke();
  }

  /* Where the region changes; each has its hue, left and right of a pair the same. */
  function outlineRegions(context, codes, plane, sx, sy, top, ratio) {
    const { width, height, codes: flat } = slice(codes, plane, cursor[PLANES[plane].normal], 1);
    const at = (r, c) => (r < 0 || c < 0 || r >= height || c >= width ? 0 : flat[r * width + c]);
    const paths = {};
    const line = (code, x0, y0, x1, y1) => {
      const path = (paths[code] ||= new Path2D());
      path.moveTo(x0, y0);
      path.lineTo(x1, y1);
    };
    for (let r = 0; r <= height; r++) for (let c = 0; c <= width; c++) {
      const here = at(r, c), above = at(r - 1, c), left = at(r, c - 1);
      if (here !== above) line(here || above, c * sx, top + r * sy, (c + 1) * sx, top + r * sy);
      if (here !== left) line(here || left, c * sx, top + r * sy, c * sx, top + (r + 1) * sy);
    }
    context.lineWidth = 1.1 * ratio;
    for (const [code, path] of Object.entries(paths)) {
      context.strokeStyle = `hsl(${(47 + 67 * Math.floor((code - 1) / 2)) % 360} 95% 62%)`;
      context.stroke(path);
    }
  }

  function letters(context, edges, w, h, ratio) {
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#e8edf1";
    context.shadowColor = "#000";
    context.shadowBlur = 3 * ratio;
    const m = 6 * ratio;
    const put = (text, x, y, align, base) => { context.textAlign = align; context.textBaseline = base; context.fillText(text, x, y); };
    put(edges[0], m, h / 2, "left", "middle");
    put(edges[1], w - m, h / 2, "right", "middle");
    put(edges[2], w / 2, m, "center", "top");
    put(edges[3], w / 2, h - m, "center", "bottom");
    context.shadowBlur = 0;
  }

  let pending = false;
  function refresh() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; paint(); });
  }

  function paint() {
    for (const row of rows) {
      for (const plane of Object.keys(PLANES)) draw(row, plane);
      if (!row.codes) continue;
      const [x, y, z] = cursor;
      const [nx, ny, nz] = row.map.shape;
      const code = row.codes[x + nx * (y + ny * Math.min(nz - 1, Math.floor(z / row.map.step)))];
      const region = row.regions && row.regions[x + data.shape[0] * (y + data.shape[1] * z)];
      row.value.textContent = (code
        ? `${signed(row.map.values[code], row.window)} ${row.map.unit} at the crosshair`
        : "no value at the crosshair") + (region ? `, ${data.regions[region - 1]}` : "");
    }
    for (const plane of Object.keys(PLANES)) {
      const axis = PLANES[plane].normal;
      sliders[plane].value = cursor[axis];
      sliders[plane].setAttribute("aria-valuetext", `${plane} slice ${cursor[axis] + 1} of ${data.shape[axis]}`);
      counts[plane].textContent = `${cursor[axis] + 1}\u2009/\u2009${data.shape[axis]}`;
    }
    const apply = (m) => [0, 1, 2].map((r) => m[r][0] * cursor[0] + m[r][1] * cursor[1] + m[r][2] * cursor[2] + m[r][3]);
    const place = apply(data.affine).map((v, axis) => `${v < 0 ? OPPOSITE[NAMES[axis]] : NAMES[axis]} ${Math.abs(v).toFixed(1)}`);
    const stored = apply(data.stored).map(Math.round);
    where.textContent = `Crosshair: ${place.join(", ")} mm; voxel ${stored.join(", ")} of the file (from 0)`;
  }

  function move(axis, index) {
    cursor[axis] = Math.max(0, Math.min(data.shape[axis] - 1, index));
    refresh();
  }

  function setWindow(row, low, high) {
    const limits = row.limits;
    const least = (limits[1] - limits[0]) / 500;
    let width = Math.max(least, Math.min(limits[1] - limits[0], high - low));
    let level = Math.max(limits[0], Math.min(limits[1], (high + low) / 2));
    row.window = [level - width / 2, level + width / 2];
    row.table = greys(row.map, row.window);
    row.widthInput.value = width;
    row.levelInput.value = level;
    const unit = row.map.unit ? " " + row.map.unit : "";
    const ends = row.window.map((v) => signed(v, row.window));
    row.text.textContent = `${ends[0]} to ${ends[1]}${unit}`;
    row.scale.replaceChildren(ends[1] + unit, make("i"), ends[0] + unit);
    for (const plane of Object.keys(PLANES)) {
      row.canvases[plane].setAttribute("aria-label", `${row.map.title}, ${plane} slices, grey scale ${row.text.textContent}`);
    }
    refresh();
  }

  async function choose(row, key) {
    row.map = data.maps.find((map) => map.key === key);
    row.select.value = key;
    row.select.title = row.map.explanation;
    const [low, high] = row.map.window;
    const values = row.map.values;
    row.limits = low < 0 ? [-2.5 * high, 2.5 * high] : [Math.min(0, values[1]), values[255]];
    for (const [input, from, to] of [[row.widthInput, 0, row.limits[1] - row.limits[0]], [row.levelInput, ...row.limits]]) {
      input.min = from; input.max = to; input.step = (row.limits[1] - row.limits[0]) / 500;
    }
    setWindow(row, low, high);
    row.codes = null;
    const [codes, masks, regions] = await Promise.all([
      volume(key), data.masks.length ? volume("masks") : null, data.regions.length ? volume("regions") : null,
    ]);
    if (row.map.key !== key) return;
    row.codes = codes;
    row.masks = masks;
    row.regions = regions;
    refresh();
  }

  function grab(row, plane, canvas) {
    const { normal, across, up } = PLANES[plane];
    let from = null;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const perMm = box.width / millimetres[across];
      const top = (box.height - millimetres[up] * perMm) / 2;
      const c = Math.floor((event.clientX - box.left) / (perMm * data.voxel[across]));
      const r = Math.floor((event.clientY - box.top - top) / (perMm * data.voxel[up]));
      move(across, view[across][1] - 1 - c);
      move(up, view[up][1] - 1 - r);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, window: row.window.slice(), shift: event.shiftKey };
      if (!from.shift) point(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (!from.shift) return point(event);
      const span = (row.map.window[1] - row.map.window[0]) / 300;
      const half = Math.max(0, (from.window[1] - from.window[0]) / 2 + (event.clientX - from.x) * span);
      const level = (from.window[0] + from.window[1]) / 2 + (event.clientY - from.y) * span;
      setWindow(row, level - half, level + half);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // else the page scrolls, as anywhere
      event.preventDefault();
      move(normal, cursor[normal] - Math.sign(event.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (step) move(normal, cursor[normal] + step);
      else if (event.key === "Home") move(normal, 0);
      else if (event.key === "End") move(normal, data.shape[normal] - 1);
      else return;
      event.preventDefault();
    });
  }

  /* Give every plane the width of what it shows, so that all have one scale. */
  function layOut() {
    measure();
    for (const [index, plane] of Object.keys(PLANES).entries()) {
      const width = millimetres[PLANES[plane].across];
      slices.children[index].style.flex = `${width} 1 0`;
      for (const row of rows) {
        const frame = row.canvases[plane].parentElement;
        frame.style.flex = `${width} 1 0`;
        frame.style.aspectRatio = `${width} / ${tallest}`;
      }
    }
    refresh();
  }

  function addRow(key, name) {
    const row = { canvases: {} };
    row.select = make("select", { "aria-label": name, onchange: () => choose(row, row.select.value) },
      ...data.maps.map((map) => make("option", { value: map.key }, map.title)));
    row.text = make("output", { class: "window" });
    row.widthInput = make("input", { type: "range", oninput: () => slide(row) });
    row.levelInput = make("input", { type: "range", oninput: () => slide(row) });
    row.value = make("output", { class: "value" });
    row.scale = make("div", { class: "scale", "aria-hidden": "true" });
    const planes = make("div", { class: "planes" });
    for (const plane of Object.keys(PLANES)) {
      const canvas = make("canvas", { tabindex: "0", role: "img" });
      row.canvases[plane] = canvas;
      const frame = make("div", { class: "plane" }, canvas);
      planes.append(frame);
      grab(row, plane, canvas);
    }
    planes.append(row.scale);
    root.append(make("div", { class: "row" },
      make("div", { class: "head" }, row.select,
        make("label", {}, "Window", row.widthInput), make("label", {}, "Level", row.levelInput), row.text,
        make("button", { type: "button", onclick: () => setWindow(row, ...row.map.window) }, "Reset"), row.value),
      planes));
    rows.push(row);
    return choose(row, key);
  }

  function slide(row) {
    const level = Number(row.levelInput.value), half = Number(row.widthInput.value) / 2;
    setWindow(row, level - half, level + half);
  }

  root.replaceChildren();
  const tools = make("div", { class: "tools" });
  if (data.masks.length) {
    tools.append(make("fieldset", {}, make("legend", {}, "Outlines"), ...data.masks.map((mask) => {
      const box = make("input", { type: "checkbox", "data-mask": mask.key, onchange: () => {
        if (box.checked) shownMasks.add(mask.key); else shownMasks.delete(mask.key);
        refresh();
      } });
      const swatch = make("span", { class: "swatch", "data-mask": mask.key });
      return make("label", { title: mask.title }, box, swatch, mask.title.split(",")[0]);
    })));
  }
  if (data.regions.length) {
    const box = make("input", { type: "checkbox", "data-regions": "", onchange: () => { shownRegions = box.checked; refresh(); } });
    tools.append(make("label", { title: data.regions.join(", ") }, box, "Regions"));
  }
  const cross = make("input", { type: "checkbox", checked: "", onchange: () => { crosshair = cross.checked; refresh(); } });
  tools.append(make("label", {}, cross, "Crosshair"));
  const all = make("input", { type: "checkbox", onchange: () => { view = all.checked ? whole : data.view; layOut(); } });
  tools.append(make("label", {}, all, "Whole image"));
  root.append(tools);

  const sliders = {}, counts = {};
  const slices = make("div", { class: "slices" });
  for (const plane of Object.keys(PLANES)) {
    const axis = PLANES[plane].normal;
    sliders[plane] = make("input", { type: "range", min: 0, max: data.shape[axis] - 1, step: 1, "data-plane": plane,
      oninput: (event) => move(axis, Number(event.target.value)) });
    counts[plane] = make("output", {});
    const label = make("label", {}, plane[0].toUpperCase() + plane.slice(1), sliders[plane], counts[plane]);
    slices.append(label);
  }
  slices.append(make("span"));
  const where = make("p", { class: "where" });

  const keys = data.maps.map((map) => map.key);
  const first = keys[0], second = keys[1];
  const loading = [];
  if (first) loading.push(addRow(first, "First map"));
  if (second) loading.push(addRow(second, "Second map"));
  root.append(slices, where);
  layOut();
  new ResizeObserver(refresh).observe(root);
  await Promise.all(loading);
  root.dataset.ready = "true";
  paint();
})();
