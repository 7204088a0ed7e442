// Several DICOM files as one zip archive, stored as they are: the service takes one file at a time.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function checksum(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 255];
  return (value ^ 0xffffffff) >>> 0;
}

/** A Blob of the files under numbers, since names can be a patient's. */
export async function zipOf(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [number, file] of files.entries()) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = new TextEncoder().encode(`${String(number).padStart(5, "0")}.dcm`);
    const shared = sharedFields(checksum(bytes), bytes.length, name.length);
    parts.push(fields([4, 0x04034b50], ...shared), name, file);
    directory.push(fields([4, 0x02014b50], [2, 20], ...shared, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), name);
    offset += 30 + name.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = fields([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, length], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// What a member's header and its entry in the directory have in common; dated 1980-01-01.
function sharedFields(crc, size, nameLength) {
  return [[2, 20], [2, 0], [2, 0], [2, 0], [2, 0x21], [4, crc], [4, size], [4, size], [2, nameLength], [2, 0]];
}

function fields(...pairs) {
  const bytes = new Uint8Array(pairs.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let place = 0;
  for (const [size, value] of pairs) {
    if (size === 4) view.setUint32(place, value, true);
    else view.setUint16(place, value, true);
    place += size;
  }
  return bytes;
}
