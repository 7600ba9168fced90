// A plane to move about on: wheel, drag, pinch and keys. It knows nothing of what lies on it.

const CLOSEST = 40;
const STEP = 60; // pixels of an arrow key

/**
 * Where things lie on the screen. `draw` is called after each change.
 * x and y of a point are its own; `place` gives pixels, with y upwards.
 */
export class Plane {
  constructor(element, draw) {
    Object.assign(this, { element, draw, points: [{ x: 0, y: 0 }], zoom: 1, dx: 0, dy: 0, touching: new Map(), moved: 0 });
    element.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.onDown(event));
    element.addEventListener("pointermove", (event) => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => this.onUp(event));
    new ResizeObserver(() => this.resize()).observe(element);
    this.resize();
  }

  resize() {
    this.width = this.element.clientWidth || 600;
    this.height = this.element.clientHeight || 400;
    this.fit(false);
    this.draw();
  }

  /** These points are to be in sight when all is shown. */
  holds(points) {
    this.points = points;
    this.fit(false);
  }

  /** All points in sight; `home` also takes back what the reader moved. */
  fit(home = true) {
    const xs = this.points.map(({ x }) => x);
    const ys = this.points.map(({ y }) => y);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const margin = Math.min(56, this.width / 8);
    this.scale = Math.min((this.width - 2 * margin) / (right - left || 1), (this.height - 2 * margin) / (high - low || 1));
    this.middle = [(left + right) / 2, (low + high) / 2];
    if (home) {
      Object.assign(this, { zoom: 1, dx: 0, dy: 0 });
      this.draw();
    }
  }

  place({ x, y }) {
    return [
      this.width / 2 + this.dx + (x - this.middle[0]) * this.scale * this.zoom,
      this.height / 2 + this.dy - (y - this.middle[1]) * this.scale * this.zoom,
    ];
  }

  /** Zoom round a place on the screen, which stays where it is. */
  zoomBy(factor, at = [this.width / 2, this.height / 2]) {
    const zoom = Math.min(CLOSEST, Math.max(0.5, this.zoom * factor));
    const by = zoom / this.zoom;
    this.dx = at[0] - this.width / 2 - (at[0] - this.width / 2 - this.dx) * by;
    this.dy = at[1] - this.height / 2 - (at[1] - this.height / 2 - this.dy) * by;
    this.zoom = zoom;
    this.draw();
  }

  pan(dx, dy) {
    this.dx += dx;
    this.dy += dy;
    this.draw();
  }

  /** Bring a point into sight, if it is not. */
  reveal(point) {
    const [x, y] = this.place(point);
    if (x < 20 || y < 20 || x > this.width - 20 || y > this.height - 20) this.pan(this.width / 2 - x, this.height / 2 - y);
  }

  /** Whether the key was one of ours; `point` is what zooming keeps in its place. */
  onKey(key, point) {
    const at = point ? this.place(point) : undefined;
    const keys = {
      ArrowLeft: () => this.pan(STEP, 0),
      ArrowRight: () => this.pan(-STEP, 0),
      ArrowUp: () => this.pan(0, STEP),
      ArrowDown: () => this.pan(0, -STEP),
      "+": () => this.zoomBy(1.4, at),
      "=": () => this.zoomBy(1.4, at),
      "-": () => this.zoomBy(1 / 1.4, at),
      0: () => this.fit(),
    };
    keys[key]?.();
    return key in keys;
  }

  at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  onWheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * 0.0018), this.at(event));
  }

  onDown(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    this.touching.set(event.pointerId, this.at(event));
    this.moved = 0;
  }

  onMove(event) {
    const before = this.touching.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const others = [...this.touching].filter(([id]) => id !== event.pointerId);
    this.touching.set(event.pointerId, now);
    this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    // Only once it is a drag: a captured pointer's click goes to the plane and not to the point under it.
    if (this.moved > 4 && !this.element.hasPointerCapture(event.pointerId)) this.element.setPointerCapture(event.pointerId);
    if (!others.length) return this.pan(now[0] - before[0], now[1] - before[1]);
    const [, still] = others[0];
    const apart = (point) => Math.hypot(point[0] - still[0], point[1] - still[1]) || 1;
    this.zoomBy(apart(now) / apart(before), still);
  }

  onUp(event) {
    this.touching.delete(event.pointerId);
  }
}
