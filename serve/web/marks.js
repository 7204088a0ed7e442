// What is written over an image: sides of the patient, lengths, windows, colour bars, the probe.

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif";

// White alone vanishes on bright tissue.
function write(context, text, x, y, { align = "left", baseline = "middle", size = 13, weight = 500 } = {}) {
  context.font = `${weight} ${size}px ${FONT}`;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.lineJoin = "round";
  context.lineWidth = 3.5;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y);
  context.fillStyle = "#e6ecf2";
  context.fillText(text, x, y);
}

export function drawLetters(context, [left, right, top, bottom], width, height) {
  const bold = { size: 15, weight: 700 };
  write(context, left, 12, height / 2, bold);
  write(context, right, width - 12, height / 2, { ...bold, align: "right" });
  write(context, top, width / 2, 18, { ...bold, align: "center" });
  write(context, bottom, width / 2, height - 17, { ...bold, align: "center" });
}

export function drawNote(context, text, height) {
  write(context, text, 12, height - 17);
}

/** A bar of a round number of millimetres, about an eighth of the panel. */
export function drawScaleBar(context, perMillimetre, width, height) {
  const lengths = [1, 2, 5, 10, 20, 50, 100, 200];
  const length = lengths.findLast((each) => each * perMillimetre <= Math.max(50, width / 6)) ?? 1;
  const pixels = length * perMillimetre;
  const [x, y] = [width - 13 - pixels, height - 13];
  context.strokeStyle = "#000";
  context.lineWidth = 5;
  line(context, x - 1, y, x + pixels + 1, y);
  context.strokeStyle = "#e6ecf2";
  context.lineWidth = 2;
  line(context, x, y, x + pixels, y);
  line(context, x, y - 4, x, y + 1);
  line(context, x + pixels, y - 4, x + pixels, y + 1);
  write(context, length >= 10 ? `${length / 10} cm` : `${length} mm`, x + pixels, y - 11, { align: "right", size: 12 });
}

/** The colours of a map from bottom to top, with their values. */
export function drawColourBar(context, map, low, high, unit, width, height) {
  const tall = Math.min(220, height / 2 - 86); // the letter of the right side stands below
  const [x, y] = [width - 24, 46];
  if (tall < 60) return;
  context.fillStyle = "#000b";
  context.fillRect(x - 2, y - 2, 14, tall + 4);
  for (let row = 0; row < tall; row++) {
    const colour = map[Math.round((1 - row / (tall - 1)) * (map.length - 1))];
    context.fillStyle = `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
    context.fillRect(x, y + row, 10, 1.5);
  }
  context.strokeStyle = "#6b7885";
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, 11, tall + 1);
  const values = low < 0 ? [low, low / 2, 0, high / 2, high] : [low, high / 2, high];
  for (const value of values) {
    const place = y + tall * (1 - (value - low) / (high - low));
    write(context, signed(value, low < 0), x - 6, place, { align: "right", size: 12 });
  }
  write(context, unit, x + 11, y + tall + 17, { align: "right", size: 12 });
}

export function drawCross(context, frame, [across, down]) {
  const [x, y] = [frame.left + across * frame.width, frame.top + down * frame.height];
  const [gap, reach] = [5, 15];
  for (const [colour, wide] of [["#000", 3], ["#7fd0e6", 1.4]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    line(context, x - reach, y, x - gap, y);
    line(context, x + gap, y, x + reach, y);
    line(context, x, y - reach, x, y - gap);
    line(context, x, y + gap, x, y + reach);
  }
}

function signed(value, withSign) {
  const text = String(Number(Math.abs(value).toPrecision(3)));
  if (value === 0 || !withSign) return text;
  return `${value > 0 ? "+" : "−"}${text}`;
}

function line(context, ...[x, y, toX, toY]) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(toX, toY);
  context.stroke();
}
