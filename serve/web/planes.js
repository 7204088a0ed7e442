// Where a voxel is drawn: planes of a volume in RAS order, seen as a radiologist faces the patient.

// across, down, through: axes of the volume; flip: whether the screen runs against the axis.
// Letters: what is at the left, right, top and bottom of the screen.
export const PLANES = {
  axial: { across: 0, down: 1, through: 2, flip: [true, true], letters: ["R", "L", "A", "P"] },
  coronal: { across: 0, down: 2, through: 1, flip: [true, true], letters: ["R", "L", "S", "I"] },
  sagittal: { across: 1, down: 2, through: 0, flip: [true, true], letters: ["A", "P", "S", "I"] },
};

/** Columns, rows and their size in mm. */
export function sizeOf(volume, plane) {
  const { across, down, through } = PLANES[plane];
  return {
    columns: volume.shape[across],
    rows: volume.shape[down],
    count: volume.shape[through],
    width: volume.shape[across] * volume.spacing[across],
    height: volume.shape[down] * volume.spacing[down],
  };
}

/** The values of one slice as they stand on the screen, row by row from the top left. */
export function sliceOf(volume, plane, index) {
  const { across, down, through, flip } = PLANES[plane];
  const strides = [1, volume.shape[0], volume.shape[0] * volume.shape[1]];
  const columns = volume.shape[across];
  const rows = volume.shape[down];
  const values = new Float32Array(columns * rows);
  const step = flip[0] ? -strides[across] : strides[across];
  for (let row = 0; row < rows; row++) {
    const y = flip[1] ? rows - 1 - row : row;
    let source = index * strides[through] + y * strides[down] + (flip[0] ? (columns - 1) * strides[across] : 0);
    const start = row * columns;
    for (let column = 0; column < columns; column++, source += step) values[start + column] = volume.data[source];
  }
  return values;
}

/** The voxel [i, j, k] under a place on the screen, given in fractions of the slice; null outside. */
export function voxelAt(volume, plane, index, x, y) {
  if (x < 0 || y < 0 || x >= 1 || y >= 1) return null;
  const { across, down, through, flip } = PLANES[plane];
  const voxel = [0, 0, 0];
  voxel[across] = Math.floor((flip[0] ? 1 - x : x) * volume.shape[across] - (flip[0] ? 1e-9 : 0));
  voxel[down] = Math.floor((flip[1] ? 1 - y : y) * volume.shape[down] - (flip[1] ? 1e-9 : 0));
  voxel[through] = index;
  return voxel.map((value, axis) => Math.max(0, Math.min(volume.shape[axis] - 1, value)));
}

/** Where on the screen the middle of a voxel lies, in fractions of the slice. */
export function placeOf(volume, plane, voxel) {
  const { across, down, flip } = PLANES[plane];
  const x = (voxel[across] + 0.5) / volume.shape[across];
  const y = (voxel[down] + 0.5) / volume.shape[down];
  return [flip[0] ? 1 - x : x, flip[1] ? 1 - y : y];
}

/** The voxel of another volume of the same field of view, such as one with a larger matrix. */
export function sameVoxel(voxel, from, to) {
  return voxel.map((value, axis) => Math.floor(((value + 0.5) / from.shape[axis]) * to.shape[axis]));
}

export function valueAt(volume, [i, j, k]) {
  return volume.data[i + volume.shape[0] * (j + volume.shape[1] * k)];
}

/** RAS millimetres of a voxel. */
export function millimetres(volume, voxel) {
  return volume.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
}
