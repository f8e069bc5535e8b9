// A line over the last minute that moves by itself. Points are { time, low, value, high }, times in milliseconds.

const WINDOW = 60_000;
const LAG = 400;       // the right edge is this far back, so that the next point is there before it is needed
const BREAK = 900;      // a longer gap between two points is shown as one
const PAD = { top: 6, right: 2, bottom: 18, left: 2 };

// The smallest round number that is not below `value`.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].map((factor) => factor * power).find((step) => step >= value * 0.999);
}

function label(value) {
  return value >= 10_000 ? `${value / 1000}k` : String(Number(value.toPrecision(3)));
}

export class Plot {
  #canvas;
  #context;
  #colour;
  #least;
  #points = [];
  #top;
  #style = {};

  // `colour` is the name of a custom property, `least` the smallest value that the top of the plot stands for.
  constructor(canvas, colour, least) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#colour = colour;
    this.#least = least;
    this.#top = least;
    this.restyle();
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  add(point) {
    this.#points.push(point);
    while (this.#points.length > 2 && this.#points[1].time < point.time - WINDOW - LAG) this.#points.shift();
  }

  // The highest value of the last minute.
  high() {
    return Math.max(0, ...this.#points.map((point) => point.high));
  }

  // Read the colours again, after the scheme has changed.
  restyle() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    this.#style = { line: read(this.#colour), grid: read("--line"), text: read("--dim"), font: `11px ${read("--mono")}` };
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#canvas.clientWidth * ratio);
    this.#canvas.height = Math.round(this.#canvas.clientHeight * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  // `ease` is how much of the way to a new scale one frame goes: 1 is at once.
  draw(now, ease) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const end = now - LAG;
    const step = round(Math.max(this.#least, this.high() * 1.05) / 2);
    this.#top += (2 * step - this.#top) * ease;
    const x = (time) => PAD.left + ((time - end + WINDOW) / WINDOW) * (width - PAD.left - PAD.right);
    const y = (value) => PAD.top + (1 - value / this.#top) * (height - PAD.top - PAD.bottom);

    const context = this.#context;
    context.clearRect(0, 0, width, height);
    this.#grid(context, width, height, x, y, step, end);
    context.save();
    context.beginPath();
    context.rect(PAD.left, 0, width - PAD.left - PAD.right, height - PAD.bottom + 1);
    context.clip();
    for (const run of this.#runs()) this.#run(context, run, x, y);
    context.restore();
  }

  #grid(context, width, height, x, y, step, end) {
    context.lineWidth = 1;
    context.strokeStyle = this.#style.grid;
    context.fillStyle = this.#style.text;
    context.font = this.#style.font;
    context.textAlign = "left";
    for (let value = 0; value <= this.#top * 1.001; value += step) {
      const level = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(PAD.left, level);
      context.lineTo(width - PAD.right, level);
      context.stroke();
      if (value > 0) context.fillText(label(value), PAD.left, level + 12);
    }
    context.fillText("60 s ago", PAD.left, height - 3);
    context.textAlign = "center";
    context.fillText("30 s", x(end - WINDOW / 2), height - 3);
    context.textAlign = "right";
    context.fillText("now", width - PAD.right, height - 3);
  }

  // The points without gaps between them.
  #runs() {
    const runs = [];
    let before = -Infinity;
    for (const point of this.#points) {
      if (point.time - before > BREAK) runs.push([]);
      runs.at(-1).push(point);
      before = point.time;
    }
    return runs;
  }

  #run(context, points, x, y) {
    context.beginPath();
    for (const point of points) context.lineTo(x(point.time), y(point.high));
    for (const point of points.toReversed()) context.lineTo(x(point.time), y(point.low));
    context.closePath();
    context.globalAlpha = 0.16;
    context.fillStyle = this.#style.line;
    context.fill();
    context.globalAlpha = 1;
    context.beginPath();
    for (const point of points) context.lineTo(x(point.time), y(point.value));
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.strokeStyle = this.#style.line;
    context.stroke();
  }
}
