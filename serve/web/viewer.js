// The images: one state, drawn into as many panels as the way of comparing asks for.

import { MAPS, paint } from "./colours.js";
import { PLANES, placeOf, sameVoxel, sizeOf, sliceOf, valueAt, voxelAt, millimetres } from "./planes.js";
import { drawColourBar, drawCross, drawLetters, drawNote, drawScaleBar } from "./marks.js";

const NAMES = { degraded: "Degraded", restored: "Restored", difference: "Difference", uncertainty: "Uncertainty" };
const PIXELS_SHOWN_ABOVE = 7; // screen pixels per voxel from which voxels keep their edges
const CACHED_SLICES = 16;

export class Viewer {
  /** place: the element for the panels. onChange: called after every drawing. */
  constructor(place, onChange) {
    this.place = place;
    this.onChange = onChange;
    this.panels = [];
    this.slices = new Map();
    this.volumes = {};
    this.state = { mode: "sides", plane: "axial", index: 0, zoom: 1, centre: [0.5, 0.5], level: 0, width: 1, range: 1, wipe: 0.5, flipped: false, probe: null };
    new ResizeObserver(() => this.set({})).observe(place);
  }

  /** Show a study's volumes {degraded, restored, uncertainty}; the restored may still be missing. */
  show(volumes, unit, state) {
    this.volumes = volumes;
    this.unit = unit;
    this.slices.clear();
    this.set({ zoom: 1, centre: [0.5, 0.5], probe: null, flipped: false, ...state });
  }

  /** Change the state and draw, once for all changes of a frame. */
  set(changes) {
    Object.assign(this.state, changes);
    if (!this.volumes.degraded) return;
    const { state } = this;
    state.index = clamp(Math.round(state.index), 0, this.size.count - 1);
    state.zoom = clamp(state.zoom, 0.5, 24);
    state.wipe = clamp(state.wipe, 0, 1);
    state.width = Math.max(state.width, 1e-6);
    state.centre = state.centre.map((place) => clamp(place, -0.2, 1.2));
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Another plane, at the slice of the probe or in the middle. */
  setPlane(plane) {
    const { through } = PLANES[plane];
    const { probe } = this.state;
    const index = probe ? probe[through] : Math.floor(this.volumes.degraded.shape[through] / 2);
    this.set({ plane, index, zoom: 1, centre: [0.5, 0.5] });
  }

  get size() {
    return sizeOf(this.volumes.degraded, this.state.plane);
  }

  /** What is shown, from left to right. */
  get kinds() {
    const { mode } = this.state;
    if (mode === "sides") return ["degraded", "restored"];
    if (mode === "wipe") return ["wipe"];
    if (mode === "flip") return [this.state.flipped ? "degraded" : "restored"];
    const width = this.place.clientWidth;
    if (width < 560) return [mode];
    return mode === "difference" && width > 1150 ? ["degraded", "restored", "difference"] : ["restored", mode];
  }

  draw() {
    this.arrange(this.kinds);
    for (const panel of this.panels) this.drawPanel(panel);
    this.onChange();
  }

  arrange(kinds) {
    this.place.classList.toggle("stacked", kinds.length > 1);
    while (this.panels.length > kinds.length) this.panels.pop().figure.remove();
    while (this.panels.length < kinds.length) this.panels.push(this.newPanel());
    for (const [number, kind] of kinds.entries()) {
      const panel = this.panels[number];
      panel.kind = kind;
      panel.left.textContent = kind === "wipe" ? NAMES.degraded : NAMES[kind];
      panel.right.textContent = kind === "wipe" ? NAMES.restored : "";
      panel.figure.classList.toggle("zoomed", this.state.zoom > 1);
      const where = `${this.state.plane} slice ${this.state.index + 1} of ${this.size.count}`;
      const what = kind === "wipe" ? "Degraded and restored, wiped" : NAMES[kind];
      panel.canvas.setAttribute("aria-label", `${what}, ${where}`);
    }
  }

  newPanel() {
    const figure = document.createElement("figure");
    const [canvas, left, right] = ["canvas", "figcaption", "span"].map((name) => document.createElement(name));
    figure.className = "panel";
    canvas.setAttribute("role", "img");
    right.className = "right";
    left.className = "left";
    figure.append(canvas, left, right);
    this.place.append(figure);
    return { figure, canvas, left, right, images: new Map(), kind: "" };
  }

  drawPanel(panel) {
    const { canvas } = panel;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    const frame = this.frameIn(width, height);
    context.imageSmoothingEnabled = frame.pixel * scale < PIXELS_SHOWN_ABOVE;
    context.imageSmoothingQuality = "high";
    if (panel.kind === "wipe") this.drawWipe(context, panel, frame, width, height);
    else this.drawImage(context, panel, panel.kind, frame);
    this.drawMarks(context, panel, frame, width, height);
  }

  /** Where the slice lies in a panel of that size: left, top, width, height, pixels per mm and voxel. */
  frameIn(width, height) {
    const size = this.size;
    const fit = Math.min((width - 24) / size.width, (height - 24) / size.height);
    const perMillimetre = Math.max(fit, 1e-3) * this.state.zoom;
    const [x, y] = this.state.centre;
    return {
      left: width / 2 - x * size.width * perMillimetre,
      top: height / 2 - y * size.height * perMillimetre,
      width: size.width * perMillimetre,
      height: size.height * perMillimetre,
      perMillimetre,
      pixel: (size.width * perMillimetre) / size.columns,
    };
  }

  drawWipe(context, panel, frame, width, height) {
    const line = Math.round(frame.left + frame.width * this.state.wipe);
    this.drawImage(context, panel, "degraded", frame);
    if (this.volumes.restored) {
      context.save();
      context.beginPath();
      context.rect(line, 0, width - line, height);
      context.clip();
      context.fillStyle = "#000";
      context.fillRect(line, 0, width - line, height);
      this.drawImage(context, panel, "restored", frame);
      context.restore();
    }
    context.fillStyle = "#f2b35b";
    context.fillRect(line - 0.75, 0, 1.5, height);
    context.beginPath();
    context.arc(line, height / 2, 13, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "#241704";
    context.font = "700 15px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("‹ ›", line, height / 2 - 1);
  }

  drawImage(context, panel, kind, frame) {
    const image = this.imageOf(panel, kind);
    if (image) context.drawImage(image, frame.left, frame.top, frame.width, frame.height);
  }

  /** A slice as an image, made anew when what it shows has changed. */
  imageOf(panel, kind) {
    const { plane, index, level, width, range } = this.state;
    const values = this.valuesOf(kind, plane, index);
    if (!values) return null;
    const [low, high, map] = this.scaleOf(kind);
    const made = panel.images.get(kind);
    const key = [plane, index, level, width, range].join();
    if (made && made.key === key && made.values === values.values) return made.canvas;
    const canvas = made?.canvas ?? document.createElement("canvas");
    [canvas.width, canvas.height] = [values.columns, values.rows];
    const picture = new ImageData(values.columns, values.rows);
    paint(values.values, low, high, map, new Uint32Array(picture.data.buffer));
    canvas.getContext("2d").putImageData(picture, 0, 0);
    panel.images.set(kind, { key, values: values.values, canvas });
    return canvas;
  }

  /** Lowest and highest shown value of a kind of image, and its colours. */
  scaleOf(kind) {
    const { level, width, range } = this.state;
    if (kind === "difference") return [-range, range, MAPS.difference];
    if (kind === "uncertainty") return [0, range, MAPS.uncertainty];
    return [level - width / 2, level + width / 2, MAPS.grey];
  }

  /** {values, columns, rows} of a slice, or null while its volume is missing. */
  valuesOf(kind, plane, index) {
    const key = `${kind} ${plane} ${index}`;
    if (!this.slices.has(key)) {
      const made = kind === "difference" ? this.differenceOf(plane, index) : this.sliceOf(kind, plane, index);
      if (!made) return null;
      if (this.slices.size >= CACHED_SLICES) this.slices.delete(this.slices.keys().next().value);
      this.slices.set(key, made);
    }
    return this.slices.get(key);
  }

  sliceOf(kind, plane, index) {
    const volume = this.volumes[kind];
    if (!volume) return null;
    const { columns, rows, count } = sizeOf(volume, plane);
    const own = Math.floor(((index + 0.5) / this.size.count) * count);
    return { values: sliceOf(volume, plane, own), columns, rows };
  }

  /** Restored minus degraded; an enlarged matrix is compared with the voxel that it came from. */
  differenceOf(plane, index) {
    const [degraded, restored] = ["degraded", "restored"].map((kind) => this.valuesOf(kind, plane, index));
    if (!degraded || !restored) return null;
    const values = new Float32Array(restored.values.length);
    for (let row = 0, place = 0; row < restored.rows; row++) {
      const start = Math.floor(((row + 0.5) / restored.rows) * degraded.rows) * degraded.columns;
      for (let column = 0; column < restored.columns; column++, place++) {
        const source = start + Math.floor(((column + 0.5) / restored.columns) * degraded.columns);
        values[place] = restored.values[place] - degraded.values[source];
      }
    }
    return { ...restored, values };
  }

  drawMarks(context, panel, frame, width, height) {
    const { state } = this;
    drawLetters(context, PLANES[state.plane].letters, width, height);
    drawScaleBar(context, frame.perMillimetre, width, height);
    if (panel.kind === "difference" || panel.kind === "uncertainty") {
      const [low, high, map] = this.scaleOf(panel.kind);
      drawColourBar(context, map, low, high, this.unit, width, height);
    } else {
      drawNote(context, `L ${text(state.level)}  W ${text(state.width)}`, height);
    }
    if (state.probe && this.probeIsShown) drawCross(context, frame, placeOf(this.volumes.degraded, state.plane, state.probe));
  }

  get probeIsShown() {
    return this.state.probe[PLANES[this.state.plane].through] === this.state.index;
  }

  /** The voxel under a place in a panel, in CSS pixels; null beside the slice. */
  voxelUnder(canvas, x, y) {
    const frame = this.frameIn(canvas.clientWidth, canvas.clientHeight);
    const across = (x - frame.left) / frame.width;
    const down = (y - frame.top) / frame.height;
    return voxelAt(this.volumes.degraded, this.state.plane, this.state.index, across, down);
  }

  /** Zoom by a factor, keeping what lies under a place of a panel where it is. */
  zoomAt(canvas, x, y, factor) {
    const before = this.frameIn(canvas.clientWidth, canvas.clientHeight);
    const place = [(x - before.left) / before.width, (y - before.top) / before.height];
    this.state.zoom = clamp(this.state.zoom * factor, 0.5, 24);
    const after = this.frameIn(canvas.clientWidth, canvas.clientHeight);
    this.panBy(canvas, x - (after.left + place[0] * after.width), y - (after.top + place[1] * after.height));
  }

  panBy(canvas, x, y) {
    const frame = this.frameIn(canvas.clientWidth, canvas.clientHeight);
    const [across, down] = this.state.centre;
    this.set({ centre: [across - x / frame.width, down - y / frame.height] });
  }

  /** Move the probe by steps on the screen: across, down. */
  moveProbe(across, down) {
    const volume = this.volumes.degraded;
    const plane = PLANES[this.state.plane];
    const probe = this.state.probe && this.probeIsShown ? [...this.state.probe] : volume.shape.map((size) => size >> 1);
    probe[plane.through] = this.state.index;
    probe[plane.across] -= across;
    probe[plane.down] -= down;
    this.set({ probe: probe.map((value, axis) => clamp(value, 0, volume.shape[axis] - 1)) });
  }

  /** What is known of the probed voxel, or null. */
  reading() {
    const { degraded, restored, uncertainty } = this.volumes;
    const { probe } = this.state;
    if (!probe || !degraded) return null;
    const at = (volume) => (volume ? valueAt(volume, sameVoxel(probe, degraded, volume)) : null);
    return { voxel: probe, place: millimetres(degraded, probe), degraded: at(degraded), restored: at(restored), uncertainty: at(uncertainty) };
  }
}

export function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

function text(value) {
  return String(Math.round(value * 100) / 100);
}
