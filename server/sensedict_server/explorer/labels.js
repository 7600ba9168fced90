// Names on a map: each beside a point of its word, none over another. Zooming in makes room for more.

const LINE = 16;
const MARGIN = 7; // pixels round a point that must stay free
const NEVER = 1000;

/**
 * Places for names, in the order of their weight: {name, x, y, anchor}, those that fit.
 * `wanted`: {name, points: [[x, y]], size} in pixels; `taken`: [x, y, must], points that a name should, or must, not cover.
 */
export function placed(wanted, taken, width, height) {
  const boxes = [];
  const found = [];
  for (const item of wanted) {
    const seen = item.points.filter(([x, y]) => x > 0 && y > 0 && x < width && y < height);
    if (!seen.length) continue;
    const best = candidates(item, middle(seen))
      .filter(({ box }) => box[0] > 2 && box[1] > 2 && box[2] < width - 2 && box[3] < height - 2 && !boxes.some((other) => overlap(box, other)))
      .map((place) => ({ ...place, covered: covered(place.box, taken) }))
      .filter(({ covered: marks }) => marks < NEVER)
      .sort((a, b) => a.covered - b.covered)[0];
    if (!best) continue;
    boxes.push(best.box);
    found.push({ ...item, x: best.x, y: best.y, anchor: best.anchor });
  }
  return found;
}

/** The point nearest the middle of them all: the middle itself may be empty. */
function middle(points) {
  const centre = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  return points.toSorted((a, b) => away(a, centre) - away(b, centre))[0];
}

function away([x, y], [u, v]) {
  return (x - u) ** 2 + (y - v) ** 2;
}

function candidates({ name, size, gap = 10 }, [x, y]) {
  const wide = Array.from(name).length * size * 0.56;
  const low = y + size * 0.35;
  const box = (left, base) => [left - 2, base - size, left + wide + 2, base + LINE - size + 2];
  return [
    { x: x + gap, y: low, anchor: "start", box: box(x + gap, low) },
    { x: x - gap, y: low, anchor: "end", box: box(x - gap - wide, low) },
    { x, y: y - gap, anchor: "middle", box: box(x - wide / 2, y - gap) },
    { x, y: y + gap + size * 0.8, anchor: "middle", box: box(x - wide / 2, y + gap + size * 0.8) },
  ];
}

function covered([left, top, right, bottom], taken) {
  return taken.reduce((sum, [x, y, must]) => {
    const margin = must ? MARGIN : 0;
    const under = x > left - margin && x < right + margin && y > top - margin && y < bottom + margin;
    return under ? sum + (must ? NEVER : 1) : sum;
  }, 0);
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}
