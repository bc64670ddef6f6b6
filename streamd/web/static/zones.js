// The zones of a stream, drawn over its picture in the state that they are in. Shape and word say it; colour only helps.

/** @import { Stream, View, Zone } from './types.js' */

const SVG = 'http://www.w3.org/2000/svg';
/** Picture and depth side by side: a zone is in both. */
const WIDE = ['side-by-side', 'rgbd'];

/**
 * What is written at a zone.
 * @param {Zone} zone
 */
export function zoneLabel({ name, state, problem, nearest_metres: metres }) {
  if (problem) return `${name}: off`;
  if (state !== 'near') return name;
  return typeof metres === 'number' ? `${name}: near, ${metres.toFixed(1)} m` : `${name}: near`;
}

/**
 * Where its label begins: its topmost point, of these the leftmost.
 * @param {[number, number][]} polygon
 * @returns {[number, number]}
 */
export const labelAt = (polygon) => polygon.reduce((a, b) => (b[1] < a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a));

export class ZoneOverlay {
  #drawn = '';

  /** @param {HTMLElement} box with the picture, which fits into it as `object-fit: contain` does */
  constructor(box) {
    this.svg = document.createElementNS(SVG, 'svg');
    this.svg.classList.add('zones');
    this.svg.setAttribute('role', 'img');
    this.svg.dataset.testid = 'zones';
    box.querySelector('.notice')?.before(this.svg);
    this.show(null, 'depth', false);
  }

  /**
   * @param {Stream | null} stream
   * @param {View} view
   * @param {boolean} wanted
   */
  show(stream, view, wanted) {
    const zones = wanted ? stream?.zones ?? [] : [];
    const { width, height } = stream ?? {};
    const shown = Boolean(zones.length && width && height);
    this.svg.toggleAttribute('hidden', !shown);
    const text = shown ? JSON.stringify([zones, width, height, view]) : '';
    if (text === this.#drawn) return;
    this.#drawn = text;
    if (shown && width && height) this.#draw(zones, width, height, WIDE.includes(view) ? 2 : 1);
  }

  /**
   * @param {Zone[]} zones
   * @param {number} width
   * @param {number} height
   * @param {number} times
   */
  #draw(zones, width, height, times) {
    this.svg.setAttribute('viewBox', `0 0 ${width * times} ${height}`);
    this.svg.style.setProperty('--size', `${height / 24}px`);
    this.svg.ariaLabel = zones.map(zoneLabel).join(', ');
    const places = Array.from({ length: times }, (_, i) => i * width);
    this.svg.replaceChildren(...places.flatMap((left) => zones.flatMap((zone) => this.#zone(zone, left, width, height))));
  }

  /**
   * @param {Zone} zone
   * @param {number} left
   * @param {number} width
   * @param {number} height
   */
  #zone(zone, left, width, height) {
    if (!zone.polygon) return [];
    const group = document.createElementNS(SVG, 'g');
    group.dataset.zone = zone.name;
    group.dataset.state = zone.problem ? 'off' : zone.state;
    const area = document.createElementNS(SVG, 'polygon');
    area.setAttribute('points', zone.polygon.map(([x, y]) => `${left + x * width},${y * height}`).join(' '));
    const [x, y] = labelAt(zone.polygon);
    const label = document.createElementNS(SVG, 'text');
    label.setAttribute('x', String(left + x * width + height / 60));
    label.setAttribute('y', String(Math.min(y * height + height / 20, height - height / 60)));
    label.textContent = zoneLabel(zone);
    group.append(area, label);
    return [group];
  }
}
