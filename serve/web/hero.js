// The picture of the empty page: a drawn head, half as it is measured and half as it could be.

const ELLIPSES = [
  [0, 0, 0.69, 0.92, 0, 0.42], [0, -0.02, 0.63, 0.85, 0, -0.24], [0.22, 0, 0.12, 0.31, -18, -0.1],
  [-0.22, 0, 0.16, 0.41, 18, -0.1], [0, 0.35, 0.21, 0.25, 0, 0.13], [0, 0.1, 0.046, 0.046, 0, 0.2],
  [0, -0.1, 0.046, 0.046, 0, 0.2], [-0.08, -0.605, 0.046, 0.023, 0, 0.25], [0, -0.605, 0.023, 0.023, 0, 0.25],
  [0.06, -0.605, 0.023, 0.046, 0, 0.25], [0.32, 0.42, 0.07, 0.05, 30, 0.12],
];

const VOXELS = 46; // of the degraded half, from the middle to the edge
const NOISE = 0.16;

export function drawHero(canvas) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const random = generator(7);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const isDegraded = x < width / 2;
      const [u, v] = [(x - width / 2) / (height * 0.52), (height / 2 - y) / (height * 0.52)];
      const [coarseU, coarseV] = [u, v].map((place) => Math.round(place * VOXELS) / VOXELS);
      const value = isDegraded ? headAt(coarseU, coarseV) + (random() + random() - 1) * NOISE : headAt(u, v);
      const grey = Math.max(0, Math.min(255, value * 330));
      const around = Math.hypot(u / 0.69, v / 0.92);
      const alpha = around < 1 ? 255 : 5 * grey * Math.max(0, 1.6 - around);
      picture.data.set([grey, grey, grey, alpha], 4 * (y * width + x));
    }
  }
  context.putImageData(picture, 0, 0);
  context.fillStyle = "#f2b35b";
  context.fillRect(width / 2 - 1, 0, 2, height);
}

function headAt(x, y) {
  let value = 0;
  for (const [centreX, centreY, a, b, degrees, density] of ELLIPSES) {
    const angle = (degrees * Math.PI) / 180;
    const [dx, dy] = [x - centreX, y - centreY];
    const u = (dx * Math.cos(angle) + dy * Math.sin(angle)) / a;
    const v = (-dx * Math.sin(angle) + dy * Math.cos(angle)) / b;
    if (u * u + v * v <= 1) value += density;
  }
  return value;
}

// The same picture each time.
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
