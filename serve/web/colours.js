// Values to colours: grey in a window, blue-black-orange around no change, and one for uncertainty.

const STEPS = 1024;

// Blue for darker, black for no change, orange for brighter: told apart with any colour vision.
const DIFFERENCE = [[-1, 118, 190, 255], [-0.45, 16, 92, 190], [0, 0, 0, 0], [0.45, 196, 88, 8], [1, 255, 205, 120]];
const UNCERTAINTY = [[0, 0, 0, 0], [0.3, 88, 22, 110], [0.6, 204, 62, 88], [0.85, 250, 158, 60], [1, 252, 246, 190]];
const GREY = [[0, 0, 0, 0], [1, 255, 255, 255]];

export const MAPS = { grey: table(GREY), difference: table(DIFFERENCE), uncertainty: table(UNCERTAINTY) };

function table(stops) {
  const first = stops[0][0];
  const span = stops[stops.length - 1][0] - first;
  return Uint32Array.from({ length: STEPS }, (_, step) => packed(colourAt(stops, first + (span * step) / (STEPS - 1))));
}

function colourAt(stops, place) {
  const next = Math.max(1, stops.findIndex((stop) => stop[0] >= place));
  const [low, high] = [stops[next - 1], stops[next]];
  const share = (place - low[0]) / (high[0] - low[0]);
  return [1, 2, 3].map((channel) => Math.round(low[channel] + share * (high[channel] - low[channel])));
}

// Little-endian RGBA, as ImageData has it on every machine with a browser.
function packed([red, green, blue]) {
  return (255 << 24) | (blue << 16) | (green << 8) | red;
}

/** Values from `low` to `high` as pixels of an image of the same size; others take the ends. */
export function paint(values, low, high, map, pixels) {
  const scale = (STEPS - 1) / Math.max(high - low, 1e-12);
  for (let index = 0; index < values.length; index++) {
    const step = (values[index] - low) * scale;
    pixels[index] = map[step <= 0 ? 0 : step >= STEPS - 1 ? STEPS - 1 : step | 0];
  }
}
