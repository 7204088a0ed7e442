// Window presets by modality: names, level and width in the unit of the scan.

const FIXED = {
  CT: [["Soft tissue", 40, 400], ["Lung", -600, 1500], ["Bone", 400, 1800], ["Brain", 40, 80], ["Liver", 60, 160], ["Whole range", 1024, 4096]],
  PET: [["SUV 0 to 5", 2.5, 5], ["SUV 0 to 10", 5, 10], ["SUV 0 to 20", 10, 20]],
  MRI: [],
};

// Of the degraded scan, so that both images are shown alike.
const SHARES = [["Whole contrast", 0.02, 0.995], ["Bright", 0.02, 0.9], ["Narrow", 0.4, 0.98]];

export const UNITS = { CT: "HU", PET: "SUV", MRI: "a.u." };

/** [{name, level, width}], the first to begin with. */
export function presetsFor(modality, degraded) {
  const fixed = FIXED[modality].map(([name, level, width]) => ({ name, level, width }));
  const sorted = sampleOf(degraded.data).filter((value) => modality !== "MRI" || value > 0).sort();
  const at = (share) => (sorted.length ? sorted[Math.floor(share * (sorted.length - 1))] : 0);
  const shares = modality === "MRI" ? SHARES : [["From its values", 0.01, 0.995]];
  const own = shares.map(([name, from, to]) => {
    const low = modality === "MRI" && from < 0.1 ? 0 : at(from);
    const width = Math.max(at(to) - low, 1e-3);
    return { name, level: rounded(low + width / 2, width), width: rounded(width, width) };
  });
  return [...fixed, ...own];
}

/** Where the difference map ends: a round number that one change in two hundred exceeds. */
export function differenceRange(degraded, restored, sample) {
  const changes = sampleOf(degraded.data, sample).map(Math.abs).sort();
  return roundUp(changes.length ? changes[Math.floor(0.995 * (changes.length - 1))] : 1);
}

/** Up to fifty thousand values, spread evenly; `value` maps an index of the data to a number. */
export function sampleOf(data, value = (index) => data[index]) {
  const step = Math.max(1, Math.floor(data.length / 50000));
  return Float32Array.from({ length: Math.ceil(data.length / step) }, (_, index) => value(index * step));
}

export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((digit) => digit * power >= value * 0.9999) * power;
}

/** As many digits as a width calls for. */
export function rounded(value, width) {
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.max(Math.abs(width), 1e-6)))));
  return Number(value.toFixed(digits));
}
