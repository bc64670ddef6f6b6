// The latency of the last minute: what the server takes, and what it takes to the screen.

import { fixed, isNumber } from './dom.js';

const SECONDS = 60;
const ROUND_MS = [50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

export class Graph {
  #server = [];
  #total = [];

  constructor(canvas) {
    this.canvas = canvas;
  }

  clear() {
    this.#server = [];
    this.#total = [];
    this.draw();
  }

  /** Once each second, null for what is not known. */
  add(serverMs, totalMs) {
    this.#server = [...this.#server, serverMs].slice(-SECONDS);
    this.#total = [...this.#total, totalMs].slice(-SECONDS);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return;
    const scale = devicePixelRatio;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext('2d');
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const highest = Math.max(0, ...[...this.#server, ...this.#total].filter(isNumber));
    const top = ROUND_MS.find((ms) => ms >= highest * 1.1) ?? highest;
    const x = (i, length) => width - 1 - ((length - 1 - i) / (SECONDS - 1)) * (width - 2);
    const y = (ms) => height - 1.5 - (ms / top) * (height - 14);

    context.strokeStyle = style.getPropertyValue('--line');
    context.beginPath();
    for (const ms of [0, top]) {
      context.moveTo(0, Math.round(y(ms)) + 0.5);
      context.lineTo(width, Math.round(y(ms)) + 0.5);
    }
    context.stroke();
    context.fillStyle = style.getPropertyValue('--soft');
    context.font = `11px ${style.fontFamily}`;
    context.fillText(`${fixed(top)} ms`, 0, 9);
    context.textAlign = 'right';
    context.fillText('last minute', width, 9);

    for (const [values, colour, dash] of [[this.#server, '--soft', [3, 3]], [this.#total, '--accent', []]]) {
      context.strokeStyle = style.getPropertyValue(colour);
      context.lineWidth = 1.5;
      context.setLineDash(dash);
      context.beginPath();
      let pen = false;
      values.forEach((ms, i) => {
        if (isNumber(ms)) context[pen ? 'lineTo' : 'moveTo'](x(i, values.length), y(ms));
        pen = isNumber(ms);
      });
      context.stroke();
    }
  }
}
