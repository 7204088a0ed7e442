// What was dropped or chosen, sorted into studies: each one body for the service.

import { zipOf } from "./zip.js";

const TYPES = [
  [".nii.gz", "application/x-nifti"],
  [".nii", "application/x-nifti"],
  [".npy", "application/x-npy"],
  [".zip", "application/zip"],
];

/** All files of a drop, those of dropped folders too. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesBelow))).flat();
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesBelow))).flat();
}

/**
 * Studies [{name, contentType, body: async () => Blob, asksKind}] of files. DICOM files that came
 * together are one study; all else is a study by itself. asksKind: the file cannot say its modality.
 */
export async function studiesOf(files) {
  const shown = files.filter((file) => !file.name.startsWith(".") && file.name !== "DICOMDIR" && file.size > 0);
  const studies = [];
  const slices = [];
  for (const file of shown) {
    const [, contentType] = TYPES.find(([ending]) => file.name.toLowerCase().endsWith(ending)) ?? [];
    if (contentType) studies.push({ name: file.name, contentType, body: async () => file, asksKind: contentType !== "application/zip" });
    else slices.push(file);
  }
  if (slices.length === 1) studies.push(oneFile(slices[0]));
  if (slices.length > 1) studies.push(oneSeries(slices));
  return studies;
}

function oneFile(file) {
  return { name: file.name, contentType: "application/dicom", body: async () => file, asksKind: false };
}

function oneSeries(files) {
  const folder = files[0].webkitRelativePath?.split("/")[0];
  const name = folder || `${files[0].name} and ${files.length - 1} more`;
  return { name, contentType: "application/zip", body: () => zipOf(files), asksKind: false };
}
