"use strict";

// Crops and scales pixels with the same bytes as `ellc/pictures/images.py`. A picture is an object
// {width, height, channels, data}; `data` has the rows of pixels from top to bottom.

function roundHalfToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The largest centred box of a picture that has the aspect ratio of rows x columns.
function cropBox(width, height, rows, columns) {
  const scale = Math.min(width / columns, height / rows);
  const boxWidth = Math.min(width, Math.max(1, roundHalfToEven(columns * scale)));
  const boxHeight = Math.min(height, Math.max(1, roundHalfToEven(rows * scale)));
  return { left: Math.floor((width - boxWidth) / 2), top: Math.floor((height - boxHeight) / 2), width: boxWidth, height: boxHeight };
}

// Converts the red, green, blue and alpha of a canvas to 3 channels, or to 1 channel of grey.
function withoutAlpha(data, width, height, channels) {
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const [red, green, blue] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 1) {
      pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      pixels[to++] = red;
      pixels[to++] = green;
      pixels[to++] = blue;
    }
  }
  return { width, height, channels, data: pixels };
}

// For each new pixel of a line: the index of the first old pixel that contributes to it, and the
// weights of this and the following old pixels. The weights are integers with a sum of about 1 << 22.
const WEIGHT_BITS = 22;
function filterOf(before, after) {
  const scale = before / after;
  const support = Math.max(1, scale);
  return Array.from({ length: after }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(before, Math.trunc(centre + support + 0.5));
    const weights = [];
    let sum = 0;
    for (let old = first; old < end; old += 1) {
      const distance = Math.abs((old - centre + 0.5) * (1 / support));
      weights.push(distance < 1 ? 1 - distance : 0);
      sum += weights[weights.length - 1];
    }
    return { first, weights: weights.map((weight) => Math.trunc(0.5 + (weight / sum) * 2 ** WEIGHT_BITS)) };
  });
}

// Scales lines of `before` pixels to lines of `after` pixels. Neighbouring pixels of a line are
// `step` bytes apart. `starts` has, for each line, its first byte in `data` and in `result`.
function scaledLines(data, result, before, after, step, starts) {
  const filter = filterOf(before, after);
  for (const [from, to] of starts) {
    for (let place = 0; place < after; place += 1) {
      const { first, weights } = filter[place];
      let sum = 2 ** (WEIGHT_BITS - 1);
      for (let n = 0; n < weights.length; n += 1) sum += data[from + (first + n) * step] * weights[n];
      result[to + place * step] = Math.min(255, sum >> WEIGHT_BITS);
    }
  }
  return result;
}

// Scales every row, rounds to 8 bits, and then scales every column.
function scaledTo(picture, rows, columns) {
  const { width, height, channels, data } = picture;
  const byRow = [];
  for (let row = 0; row < height; row += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      byRow.push([row * width * channels + channel, row * columns * channels + channel]);
    }
  }
  const narrow = scaledLines(data, new Uint8Array(height * columns * channels), width, columns, channels, byRow);
  const byColumn = Array.from({ length: columns * channels }, (_, start) => [start, start]);
  const small = scaledLines(narrow, new Uint8Array(rows * columns * channels), height, rows, columns * channels, byColumn);
  return { width: columns, height: rows, channels, data: small };
}

// Crops a drawing (one channel, light on black) around its centre of mass. The longer side of the
// drawn area becomes `share` of the result. Returns null if nothing is drawn.
function centred(drawing, share) {
  const { width, height, data } = drawing;
  let [left, right, top, bottom, mass, atX, atY] = [width, -1, height, -1, 0, 0, 0];
  data.forEach((ink, place) => {
    const [x, y] = [place % width, Math.floor(place / width)];
    if (ink < 32) return;
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    mass += ink;
    atX += ink * (x + 0.5);
    atY += ink * (y + 0.5);
  });
  if (mass === 0) return null;
  const longest = Math.max(right - left, bottom - top) + 1;
  const side = Math.max(1, Math.round(longest / share));
  // The centre of mass is in the middle, unless a part of the drawing would then be cut off.
  const start = (low, high, centre) => {
    const wanted = Math.round(centre - side / 2);
    return Math.min(low, Math.max(high + 1 - side, wanted));
  };
  const [fromX, fromY] = [start(left, right, atX / mass), start(top, bottom, atY / mass)];
  const around = new Uint8Array(side * side);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const [oldX, oldY] = [fromX + x, fromY + y];
      if (oldX >= 0 && oldX < width && oldY >= 0 && oldY < height) around[y * side + x] = data[oldY * width + oldX];
    }
  }
  return { width: side, height: side, channels: 1, data: around };
}
