// The latency of the last minute: what the server takes, and what it takes to the screen.

import { context2d, fixed, isNumber } from './dom.js';

/** @typedef {number | null | undefined} Maybe */

const SECONDS = 60;
const ROUND_MS = [50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

export class Graph {
  /** @type {Maybe[]} */
  #server = [];
  /** @type {Maybe[]} */
  #total = [];

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
  }

  clear() {
    this.#server = [];
    this.#total = [];
    this.draw();
  }

  /**
   * Once each second, null for what is not known.
   * @param {Maybe} serverMs
   * @param {Maybe} totalMs
   */
  add(serverMs, totalMs) {
    this.#server = [...this.#server, serverMs].slice(-SECONDS);
    this.#total = [...this.#total, totalMs].slice(-SECONDS);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const context = context2d(canvas);
    context.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(canvas);
    const highest = Math.max(0, ...[...this.#server, ...this.#total].filter(isNumber));
    const top = ROUND_MS.find((ms) => ms >= highest * 1.1) ?? highest;
    /** @param {number} ms */
    const y = (ms) => height - 1.5 - (ms / top) * (height - 14);

    context.strokeStyle = style.getPropertyValue('--line');
    strokeLevels(context, width, [y(0), y(top)]);
    context.fillStyle = style.getPropertyValue('--soft');
    context.font = `11px ${style.fontFamily}`;
    context.fillText(top < 1000 ? `${fixed(top)} ms` : `${fixed(top / 1000)} s`, 0, 9);
    context.textAlign = 'right';
    context.fillText('last minute', width, 9);

    context.lineWidth = 1.5;
    context.setLineDash([3, 3]);
    context.strokeStyle = style.getPropertyValue('--soft');
    strokeValues(context, width, this.#server, y);
    context.setLineDash([]);
    context.strokeStyle = style.getPropertyValue('--accent');
    strokeValues(context, width, this.#total, y);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number[]} heights
 */
function strokeLevels(context, width, heights) {
  context.beginPath();
  for (const height of heights) {
    context.moveTo(0, Math.round(height) + 0.5);
    context.lineTo(width, Math.round(height) + 0.5);
  }
  context.stroke();
}

/**
 * The newest at the right; a gap where nothing is known.
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {Maybe[]} values
 * @param {(ms: number) => number} y
 */
function strokeValues(context, width, values, y) {
  context.beginPath();
  let pen = false;
  values.forEach((ms, i) => {
    const x = width - 1 - ((values.length - 1 - i) / (SECONDS - 1)) * (width - 2);
    if (isNumber(ms)) context[pen ? 'lineTo' : 'moveTo'](x, y(ms));
    pen = isNumber(ms);
  });
  context.stroke();
}
