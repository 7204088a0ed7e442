// The page: studies on the left, images in the middle, the report on the right.

import { ask, askJson, setToken, takeTokenFromAddress, token } from "./service.js";
import { clamp, Viewer } from "./viewer.js";
import { differenceRange, presetsFor, rounded, roundUp, sampleOf, UNITS } from "./windows.js";
import { capitalised, element, reportElements, sentence } from "./report.js";
import { filesOfDrop, studiesOf } from "./intake.js";
import { keysAreOn, listenToKeys, switchKeys } from "./keys.js";
import { listenToPointers } from "./pointers.js";
import { drawHero } from "./hero.js";
import { Studies } from "./studies.js";

const $ = (id) => document.getElementById(id);
const MODES = ["sides", "wipe", "flip", "difference", "uncertainty"];

const viewer = new Viewer($("panels"), afterDrawing);
const studies = new Studies(studyChanged);
let shown = { study: null, kind: "" }; // what is in the viewer; a DICOM file says its kind only in the report
let presets = [];
let ranges = { difference: 1, uncertainty: 1 };

// Studies

function studyChanged(study) {
  drawList();
  if (study === null || study === studies.current) drawStage();
}

function drawList() {
  const list = $("studies");
  while (list.children.length > studies.list.length) list.lastChild.remove();
  while (list.children.length < studies.list.length) list.append(newEntry());
  for (const [number, study] of studies.list.entries()) fillEntry(list.children[number], study);
  $("count").textContent = studies.list.length ? String(studies.list.length) : "none yet";
}

function newEntry() {
  const entry = document.createElement("li");
  const button = element("button", "");
  button.type = "button";
  button.append(element("span", "", "kind"), element("span", "", "name"), element("span", "", "state"), document.createElement("progress"));
  button.addEventListener("click", () => studies.choose(studies.list[[...entry.parentNode.children].indexOf(entry)]));
  entry.append(button);
  return entry;
}

function fillEntry(entry, study) {
  const [kind, name, state, progress] = entry.firstChild.children;
  entry.firstChild.className = study.state;
  entry.firstChild.setAttribute("aria-current", String(study === studies.current));
  kind.textContent = study.kind || "?";
  name.textContent = study.name;
  name.title = study.name;
  state.textContent = study.text;
  progress.hidden = ["done", "failed", "new"].includes(study.state);
  fillProgress(progress, study);
  progress.setAttribute("aria-label", `Progress of ${study.name}`);
}

function fillProgress(progress, study) {
  if (study.state === "waiting") progress.removeAttribute("value");
  else progress.value = study.share;
}

async function take(files) {
  const found = await studiesOf(files);
  if (!found.length) announce("Nothing there that the service takes.");
  for (const source of found) {
    const kind = source.asksKind ? await askKind(source.name) : "";
    if (kind !== null) begin(source, kind);
  }
}

function begin(source, kind) {
  const query = { modality: kind };
  for (const name of ["model", "uncertainty", "upsample"]) query[name] = $(name).value;
  if (kind && kind !== "MRI") query.upsample = "none";
  studies.start(studies.add({ name: source.name, kind, source, query }));
  if (innerWidth <= 760) $("stage").scrollIntoView();
}

/** The modality of a file that cannot say it, or null when the person thinks better of it. */
function askKind(name) {
  const dialog = $("kind-dialog");
  $("kind-name").textContent = name;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
  });
}

function beginExample(kind) {
  const name = { MRI: "Phantom head", CT: "Phantom abdomen", PET: "Phantom trunk" }[kind];
  const body = async () => (await ask(`examples/${kind.toLowerCase()}.nii.gz`)).blob();
  begin({ name, contentType: "application/x-nifti", body, asksKind: false, preparing: "Drawing the phantom" }, kind);
}

// The middle

function drawStage() {
  const study = studies.current;
  const failed = study?.state === "failed";
  const visible = Boolean(study && !failed && study.volumes.degraded);
  $("empty").hidden = Boolean(study);
  $("failure").hidden = !failed;
  $("viewer").hidden = !(study && !failed);
  $("toolbar").hidden = !visible;
  if (failed) drawFailure(study);
  if (visible) drawImages(study);
  if (study && !failed) drawVeil(study);
  drawReport(study);
  if (study) announce(`${study.name}: ${study.text}`);
  else announce("");
}

function drawFailure({ name, problem }) {
  $("failure-title").textContent = capitalised(problem.title || "This did not work");
  // The service gives files names of its own; people know theirs.
  const detail = (problem.detail || problem.message).replace(/\bupload(\.(dcm|zip|nii|gz|npy))+/g, () => name);
  $("failure-detail").textContent = sentence(detail);
  $("failure-code").textContent = problem.code ?? "page";
  $("failure-request").textContent = problem.request ? `, request ${problem.request}` : "";
  if (problem.status === 401) openToken(true);
}

function drawImages(study) {
  const isNew = shown.study !== study || shown.kind !== study.kind;
  if (isNew) showStudy(study);
  const missing = ["restored", "uncertainty"].filter((name) => study.volumes[name] !== viewer.volumes[name]);
  if (isNew || missing.length) {
    viewer.volumes = { ...study.volumes };
    viewer.slices.clear();
    ranges = rangesOf(study.volumes);
    $("mode-uncertainty").hidden = !study.volumes.uncertainty;
    setMode(study.volumes.uncertainty || viewer.state.mode !== "uncertainty" ? viewer.state.mode : "sides");
  }
}

function showStudy(study) {
  shown = { study, kind: study.kind };
  const { degraded } = study.volumes;
  const kind = study.kind || "MRI";
  presets = presetsFor(kind, degraded);
  $("preset").replaceChildren(...presets.map(({ name }, number) => new Option(name, number)), new Option("Own", "own"));
  const [{ level, width }] = presets;
  const plane = study.kind === "PET" ? "coronal" : "axial";
  check("plane", plane);
  viewer.show(study.volumes, UNITS[kind], { plane, level, width });
  viewer.setPlane(plane);
}

function rangesOf({ degraded, restored, uncertainty }) {
  const changed = restored && restored.data.length === degraded.data.length ? (index) => restored.data[index] - degraded.data[index] : () => 0;
  const range = restored ? differenceRange(degraded, restored, changed) : 1;
  const spread = uncertainty ? sampleOf(uncertainty.data).sort() : [1];
  return { difference: range, uncertainty: roundUp(spread[Math.floor(0.995 * (spread.length - 1))]) };
}

/** Over the last panel, while there is nothing restored to show. */
function drawVeil(study) {
  const old = document.querySelector(".veil");
  if (study.volumes.restored) {
    old?.remove();
    return;
  }
  const place = (viewer.volumes.degraded && study === shown.study && viewer.panels.at(-1)?.figure) || $("panels");
  const veil = old ?? element("div", "", "veil");
  if (!old) veil.append(element("strong", ""), document.createElement("progress"));
  veil.firstChild.textContent = study.text;
  veil.lastChild.setAttribute("aria-label", "Progress");
  fillProgress(veil.lastChild, study);
  if (veil.parentNode !== place) place.append(veil);
}

function setMode(mode) {
  if (mode === "uncertainty" && !viewer.volumes.uncertainty) return;
  check("mode", mode);
  const isMap = mode === "difference" || mode === "uncertainty";
  $("range-field").hidden = !isMap;
  $("wipe-field").hidden = mode !== "wipe";
  viewer.set({ mode, ...(isMap ? { range: ranges[mode] } : {}) });
}

function setPlane(plane) {
  check("plane", plane);
  viewer.setPlane(plane);
}

function setPreset(number) {
  const { level, width } = presets[number];
  viewer.set({ level, width });
}

/** What follows from the state, in the controls around the images. */
function afterDrawing() {
  const { state, size } = viewer;
  const slice = $("slice");
  slice.max = size.count - 1;
  slice.value = state.index;
  slice.setAttribute("aria-valuetext", `slice ${state.index + 1} of ${size.count}`);
  $("slice-value").textContent = `${state.index + 1} / ${size.count}`;
  $("wipe").value = Math.round(100 * state.wipe);
  $("wipe").setAttribute("aria-valuetext", `${Math.round(100 * state.wipe)} % degraded`);
  $("wipe-value").textContent = `${Math.round(100 * state.wipe)} %`;
  $("zoom-value").textContent = `${Math.round(100 * state.zoom)} %`;
  setNumber("level", state.level, state.width);
  setNumber("width", state.width, state.width);
  setNumber("range", state.range, state.range);
  const preset = presets.findIndex(({ level, width }) => level === state.level && width === state.width);
  $("preset").value = preset < 0 ? "own" : String(preset);
  drawLegend();
  drawReadout();
  if (studies.current && studies.current.state !== "failed") drawVeil(studies.current);
}

function setNumber(id, value, width) {
  const field = $(id);
  if (document.activeElement === field && document.hasFocus() && Number(field.value) === value) return;
  field.value = rounded(value, width);
}

function drawLegend() {
  const { mode, range, flipped } = viewer.state;
  const enlarged = viewer.volumes.restored && viewer.volumes.restored.data.length !== viewer.volumes.degraded.data.length;
  const texts = {
    difference: `Restored minus degraded: black is no change, orange is brighter and blue darker, up to ±${rounded(range, range)} ${viewer.unit}${viewer.unit.endsWith(".") ? "" : "."}${enlarged ? " The matrix was enlarged; each voxel is compared with the one it lies in." : ""}`,
    uncertainty: `Standard deviation over the passes: black is none, white ${rounded(range, range)} ${viewer.unit} or more.`,
    flip: `Showing ${flipped ? "degraded" : "restored"}. Space, or a click on Flip again, shows the other in the same place.`,
  };
  $("legend").textContent = texts[mode] ?? "";
  $("legend").hidden = !(mode in texts);
}

function drawReadout() {
  const reading = viewer.reading();
  const { width } = viewer.state;
  const value = (number) => (number === null ? "–" : `${rounded(number, width / 20)} ${viewer.unit}`);
  const rows = reading
    ? [
        ["Voxel", reading.voxel.map((index) => index + 1).join(", ")],
        ["Right, front, up", `${reading.place.map((mm) => mm.toFixed(0)).join(", ")} mm`],
        ["Degraded", value(reading.degraded)],
        ["Restored", value(reading.restored)],
        ["Difference", reading.restored === null ? "–" : value(reading.restored - reading.degraded)],
        ...(reading.uncertainty === null ? [] : [["Uncertainty", `± ${value(reading.uncertainty)}`]]),
      ]
    : [["Voxel", "point at the image"]];
  $("readout").replaceChildren(...rows.map(([name, text]) => {
    const group = document.createElement("div");
    group.append(element("dt", name), element("dd", text));
    return group;
  }));
}

// The right

let reported = null;

function drawReport(study) {
  const ready = study?.state === "done";
  $("report").hidden = !ready;
  if (!ready || reported === study) return;
  reported = study;
  const voxels = study.volumes.restored?.data.length ?? 1;
  $("report-body").replaceChildren(...reportElements(study.report, voxels));
  $("download").setAttribute("aria-disabled", "false");
  $("download-hint").textContent = "In the format that was sent, labelled for research use.";
}

async function download() {
  const study = studies.current;
  if (study?.state !== "done") return;
  const response = await ask(`v1/jobs/${study.jobId}/result`);
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "restored";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = downloadName(study.name, name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  announce(`Downloaded ${link.download}.`);
}

function downloadName(sent, restored) {
  const ending = /(\.nii\.gz|\.[^.]+)$/.exec(restored)?.[0] ?? "";
  return `${sent.replace(/(\.nii\.gz|\.[^. ]+)$/, "").replaceAll(/[^\w. -]+/g, "_")}_restored${ending}`;
}

// Everything that listens

function check(group, value) {
  document.querySelector(`input[name="${group}"][value="${value}"]`).checked = true;
}

function announce(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function openToken(refused = false) {
  $("token-error").textContent = refused && token() ? "The service does not accept this token." : "";
  $("token").value = token();
  if (!$("token-dialog").open) $("token-dialog").showModal();
}

function guarded(work) {
  return async (...given) => {
    try {
      await work(...given);
    } catch (problem) {
      if (problem.status === 401) openToken(true);
      else announce(`${sentence(problem.title || "This did not work")} ${sentence(problem.detail || problem.message)}`);
    }
  };
}

function listen() {
  const page = document.documentElement;
  for (const name of ["dragover", "dragenter"]) page.addEventListener(name, (event) => {
    event.preventDefault();
    page.classList.add("over");
  });
  page.addEventListener("dragleave", (event) => event.relatedTarget || page.classList.remove("over"));
  page.addEventListener("drop", guarded(async (event) => {
    event.preventDefault();
    page.classList.remove("over");
    await take(await filesOfDrop(event.dataTransfer));
  }));
  $("files").addEventListener("change", guarded(async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    await take(files);
  }));
  for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => beginExample(button.dataset.example));
  for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", () => setMode(input.value));
  for (const input of document.querySelectorAll("input[name=plane]")) input.addEventListener("change", () => setPlane(input.value));
  document.querySelector("input[value=flip]").addEventListener("click", () => flip());
  $("preset").addEventListener("change", (event) => event.target.value !== "own" && setPreset(Number(event.target.value)));
  for (const name of ["level", "width", "range"]) $(name).addEventListener("change", (event) => {
    const value = Number(event.target.value);
    if (event.target.value !== "" && (name === "level" || value > 0)) {
      if (name === "range") ranges[viewer.state.mode] = value;
      viewer.set({ [name]: value });
    } else afterDrawing();
  });
  $("slice").addEventListener("input", (event) => viewer.set({ index: Number(event.target.value) }));
  $("slice-back").addEventListener("click", () => viewer.set({ index: viewer.state.index - 1 }));
  $("slice-on").addEventListener("click", () => viewer.set({ index: viewer.state.index + 1 }));
  $("wipe").addEventListener("input", (event) => viewer.set({ wipe: Number(event.target.value) / 100 }));
  $("zoom-in").addEventListener("click", () => viewer.set({ zoom: viewer.state.zoom * 1.25 }));
  $("zoom-out").addEventListener("click", () => viewer.set({ zoom: viewer.state.zoom / 1.25 }));
  $("zoom-fit").addEventListener("click", fit);
  $("download").addEventListener("click", guarded(download));
  $("download").addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && guarded(download)());
  $("forget").addEventListener("click", guarded(() => studies.forget(studies.current)));
  $("retry").addEventListener("click", () => studies.retry(studies.current));
  $("open-help").addEventListener("click", openHelp);
  $("keys-on").addEventListener("change", (event) => switchKeys(event.target.checked));
  $("open-token").addEventListener("click", () => openToken());
  $("token-cancel").addEventListener("click", () => $("token-dialog").close());
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setToken($("token").value.trim());
    $("token-dialog").close();
    guarded(fillModels)();
    if (studies.current?.problem?.status === 401) studies.retry(studies.current);
  });
  listenToPointers($("panels"), viewer);
  giveKeysBack();
}

/** After a click the arrow keys are for the slices again; who came by keyboard keeps the focus. */
function giveKeysBack() {
  const place = $("toolbar");
  for (const name of ["pointerup", "change"]) place.addEventListener(name, (event) => {
    if (name === "pointerup") place.dataset.pointer = "yes";
    if (place.dataset.pointer && !event.target.matches("input[type=number], select, option, label[for]")) {
      setTimeout(() => $("stage").focus({ preventScroll: true }));
    }
    if (name === "change") delete place.dataset.pointer;
  });
}

const fit = () => viewer.set({ zoom: 1, centre: [0.5, 0.5] });

function flip() {
  if (viewer.state.mode !== "flip") setMode("flip");
  else viewer.set({ flipped: !viewer.state.flipped });
}

function openHelp() {
  $("keys-on").checked = keysAreOn();
  $("help").showModal();
}

function nextStudy() {
  const { list, current } = studies;
  if (list.length) studies.choose(list[(list.indexOf(current) + 1) % list.length]);
}

function keyActs() {
  const { state } = viewer;
  const seen = (act) => (event) => viewer.volumes.degraded && !$("toolbar").hidden && act(event);
  const step = (by) => seen(() => viewer.set({ index: state.index + by }));
  const pan = (across, down) => viewer.set({ centre: [state.centre[0] + across / state.zoom, state.centre[1] + down / state.zoom] });
  const windowed = (level, width) => seen(() => viewer.set({ level: state.level + level * state.width, width: state.width * width }));
  const acts = {
    arrowup: seen((event) => (event.shiftKey ? pan(0, -0.05) : viewer.set({ index: state.index + 1 }))),
    arrowdown: seen((event) => (event.shiftKey ? pan(0, 0.05) : viewer.set({ index: state.index - 1 }))),
    arrowleft: seen((event) => (event.shiftKey ? pan(-0.05, 0) : viewer.set({ wipe: clamp(state.wipe - 0.02, 0, 1) }))),
    arrowright: seen((event) => (event.shiftKey ? pan(0.05, 0) : viewer.set({ wipe: clamp(state.wipe + 0.02, 0, 1) }))),
    pageup: step(10),
    pagedown: step(-10),
    home: seen(() => viewer.set({ index: 0 })),
    end: seen(() => viewer.set({ index: Infinity })),
    "+": seen(() => viewer.set({ zoom: state.zoom * 1.25 })),
    "=": seen(() => viewer.set({ zoom: state.zoom * 1.25 })),
    "-": seen(() => viewer.set({ zoom: state.zoom / 1.25 })),
    0: seen(fit),
    a: seen(() => setPlane("axial")),
    c: seen(() => setPlane("coronal")),
    s: seen(() => setPlane("sagittal")),
    " ": seen(flip),
    p: seen(() => setPreset((Number($("preset").value) + 1 || 0) % presets.length)),
    ",": windowed(-0.05, 1),
    ".": windowed(0.05, 1),
    "<": windowed(0, 1 / 1.1),
    ">": windowed(0, 1.1),
    i: seen(() => viewer.moveProbe(0, -1)),
    k: seen(() => viewer.moveProbe(0, 1)),
    j: seen(() => viewer.moveProbe(-1, 0)),
    l: seen(() => viewer.moveProbe(1, 0)),
    d: seen(() => guarded(download)()),
    n: nextStudy,
    "?": openHelp,
  };
  for (const [number, mode] of MODES.entries()) acts[number + 1] = seen(() => setMode(mode));
  return acts;
}

async function fillModels() {
  const { models } = await askJson("v1/models");
  const named = models.filter((model) => model.alias && model.ready);
  const options = named.map(({ alias, digest }) => new Option(`${alias} (${digest.slice(0, 12)})`, alias));
  $("model").replaceChildren(new Option("the service's default", ""), ...options);
}

takeTokenFromAddress();
listen();
listenToKeys(keyActs());
drawList();
requestAnimationFrame(() => setTimeout(() => drawHero($("hero")))); // the page first, its picture then
studies.resume();
guarded(fillModels)();
addEventListener("hashchange", takeTokenFromAddress);
