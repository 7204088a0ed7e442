// The report of a restoration in words.

const TASKS = {
  "mri-sr": "MRI super-resolution",
  "ct-denoise": "CT denoising",
  "pet-synthesis": "PET synthesis",
};

/** Elements for the report; voxels is how many the scan has. */
export function reportElements(report, voxels) {
  return [trust(report, voxels), model(report), quantities(report), experts(report), timings(report)].filter(Boolean);
}

function trust(report, voxels) {
  const flags = report.flags.map((flag) => paragraph(sentence(flag.message), "flag"));
  if (!flags.length) flags.push(paragraph(judgement(report), report.outlier_score === null ? "" : "fine"));
  const section = titled("Can it be trusted?", ...flags, paragraph(clippedText(report, voxels)));
  if (report.saturated_voxels) {
    section.append(paragraph(`${counted(report.saturated_voxels, "voxel")} did not fit the file's numbers and took the nearest value.`));
  }
  if (report.uncertainty) section.append(paragraph(uncertaintyText(report.uncertainty)));
  return section;
}

function judgement(report) {
  if (report.outlier_score === null) return "Nothing unusual was found. This model stores no statistics of its training, so whether the scan is like it is not known.";
  return `The scan looks like those the network was trained on (outlier score ${short(report.outlier_score)}).`;
}

function clippedText(report, voxels) {
  if (!report.clipped_voxels) return "Every voxel lay inside the range of training.";
  const share = (100 * report.clipped_voxels) / voxels;
  const percent = share < 0.01 ? "less than 0.01" : short(share);
  const told = `${counted(report.clipped_voxels, "voxel")} (${percent} %) outside the range of training`;
  if (report.modality === "CT" || report.above_range !== "restore") return `${told} came through unchanged.`;
  return `${told}: those above it were restored from darkened slices, others came through unchanged.`;
}

function uncertaintyText({ passes, unit, mean, maximum }) {
  return `Over ${counted(passes, "further pass", "further passes")} the answer varies by ${short(mean)} ${unit} on average, ${short(maximum)} ${unit} at most.`;
}

function model(report) {
  const { digest, alias, version, network, precision } = report.model;
  const name = [alias, version && `version ${version}`].filter(Boolean).join(", ");
  return titled("Model", facts([
    ["Task", TASKS[report.task] ?? report.task],
    ["Network", network],
    ["Name", name || "not in the registry"],
    ["Digest", digest.slice(0, 12), "digest", digest],
    ["Precision", precision],
  ]));
}

function quantities(report) {
  const [count, height, width] = report.slices;
  const rows = [["Slices", `${count} of ${width} × ${height}`], ["Unit", report.unit]];
  if (report.intensity_scale !== 1) rows.push(["Intensity scale", short(report.intensity_scale)]);
  if (report.upsample !== "none") rows.push(["Matrix enlarged", `${report.upsample} times`]);
  return titled("Scan", facts(rows));
}

function experts(report) {
  const levels = Object.entries(report.expert_use);
  if (!levels.length) return null;
  const details = document.createElement("details");
  const summary = element("summary", "Which experts the network used");
  details.append(summary);
  for (const [level, shares] of levels) {
    const meter = document.createElement("div");
    meter.className = "meter";
    const total = shares.reduce((sum, share) => sum + share, 0) || 1;
    for (const [number, share] of shares.entries()) {
      const bar = document.createElement("progress");
      Object.assign(bar, { max: 1, value: share / total });
      bar.setAttribute("aria-label", `expert ${number + 1} of ${level}`);
      meter.append(element("span", `${number + 1}`), bar, element("span", `${Math.round((100 * share) / total)} %`));
    }
    details.append(element("p", level, "hint"), meter);
  }
  return titled("Routing", details);
}

function timings(report) {
  const { seconds } = report;
  const named = [["receive", "Receive"], ["read", "Read"], ["restore", "Restore"], ["write", "Write"]];
  const rows = named.filter(([key]) => key in seconds).map(([key, name]) => [name, time(seconds[key])]);
  return titled("Time", facts(rows));
}

const time = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${short(seconds)} s`);

function titled(title, ...children) {
  const section = document.createElement("section");
  section.append(element("h3", title), ...children);
  return section;
}

function facts(rows) {
  const list = document.createElement("dl");
  list.className = "facts";
  for (const [name, value, kind = "", whole = ""] of rows) {
    const entry = element("dd", value, kind);
    if (whole) entry.title = whole;
    list.append(element("dt", name), entry);
  }
  return list;
}

const paragraph = (text, kind = "") => element("p", text, kind);

export function element(name, text, kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function sentence(text) {
  return /[.!?]$/.test(text) ? capitalised(text) : `${capitalised(text)}.`;
}

function counted(count, one, several = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : several}`;
}

function short(value) {
  return String(Number(value.toPrecision(3)));
}
