// Reads the .nii.gz files of this service: NIfTI-1, little-endian, canonical RAS, int16 or float32.

const INT16 = 4;
const FLOAT32 = 16;

/** A volume {data, shape: [nx, ny, nz], spacing: mm, origin: mm of the first voxel}. */
export async function readVolume(response) {
  const unpacked = response.body.pipeThrough(new DecompressionStream("gzip"));
  return parse(await new Response(unpacked).arrayBuffer());
}

export function parse(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 352 || view.getInt32(0, true) !== 348) throw new Error("not a little-endian NIfTI-1 file");
  if (view.getInt16(254, true) <= 0) throw new Error("the volume has no sform, so left and right are not known");
  const shape = [42, 44, 46].map((offset) => view.getInt16(offset, true));
  const rows = [280, 296, 312].map((row) => [0, 4, 8, 12].map((column) => view.getFloat32(row + column, true)));
  return {
    data: numbers(buffer, view, shape[0] * shape[1] * shape[2]),
    shape,
    spacing: [0, 1, 2].map((axis) => Math.hypot(rows[0][axis], rows[1][axis], rows[2][axis])),
    affine: rows,
  };
}

function numbers(buffer, view, count) {
  const offset = view.getFloat32(108, true);
  const kind = view.getInt16(70, true);
  const slope = view.getFloat32(112, true);
  if (slope !== 0 && (slope !== 1 || view.getFloat32(116, true) !== 0)) throw new Error("the volume is scaled");
  if (kind === INT16) return new Int16Array(buffer, offset, count);
  if (kind === FLOAT32) return new Float32Array(buffer, offset, count);
  throw new Error(`numbers of type ${kind} are not expected`);
}
