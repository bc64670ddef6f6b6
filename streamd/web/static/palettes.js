// The colours of depth. Inferno comes coloured from the server; the others are the gray view, coloured here by an SVG
// filter: three tables, near enough free, and exact. The samples are those of Matplotlib, 33 each, far to near.

/** @import { Palette, View } from './types.js' */

import { has } from './dom.js';

const SAMPLES = {
  inferno: `
    000004 040312 0b0724 150b37 210c4a 2f0a5b 3d0965 4a0c6b 56106e 63156e 70196e 7d1e6d 89226a 962766 a32c61 af315b
    bb3654 c63d4d d14545 da4f3c e35932 eb6529 f1721e f67f14 f98c0a fb9b06 fcaa0f fbba1f f9c932 f5d949 f2e865 f3f586
    fcffa4`,
  gray: '000000 ffffff',
  viridis: `
    440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d 2f6b8e 2c728e 297a8e 26828e 23898e
    21908c 1f978b 1f9f88 21a685 27ad81 31b57b 3ebc74 4dc26c 5cc863 6ece58 82d34d 95d840 aadc32 c0df25 d5e21a eae51a
    fde725`,
  cividis: `
    00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d 5a5f6e 61656f 686a71 6f7073 767676
    7c7c78 838179 8b8778 928d78 9a9376 a29975 aaa073 b3a670 bbad6d c3b369 ccba64 d4c15f ddc858 e6d051 efd748 f8df3c
    fee838`,
  turbo: `
    30123b 392a73 4040a2 4456c7 466be3 4680f6 4293ff 37a7fa 28bbec 1dccd9 18dcc3 1ee8b0 31f299 4cf97e 6bfe64 8aff4c
    a2fc3c b8f735 cced34 dee037 edd03a f7c03a fdad35 fe982c fb8022 f56818 ec520f e14109 d23105 c12302 ac1701 950d01
    7a0403`,
};
export const PALETTES = { inferno: 'Inferno', gray: 'Grayscale', viridis: 'Viridis', cividis: 'Cividis', turbo: 'Turbo' };
/** @type {Palette} */
export const DEFAULT_PALETTE = 'inferno';
/** @type {Palette[]} */
const FILTERED = ['viridis', 'cividis', 'turbo'];
const KEY = 'streamd.palette';
const SVG = 'http://www.w3.org/2000/svg';

/** @param {Palette} palette */
const colours = (palette) => SAMPLES[palette].trim().split(/\s+/);

/**
 * One of red, green and blue of each sample, 0 to 1.
 * @param {Palette} palette
 * @param {number} i
 */
export const channel = (palette, i) => colours(palette).map((hex) => parseInt(hex.slice(2 * i, 2 * i + 2), 16) / 255);

/**
 * The one with this name, else the default.
 * @param {string | null} name
 * @returns {Palette}
 */
export const paletteNamed = (name) => (has(PALETTES, name) ? name : DEFAULT_PALETTE);

/** Of the last visit. A browser may refuse any storage (SecurityError): then there was none. */
export function storedPalette() {
  try {
    return paletteNamed(localStorage.getItem(KEY));
  } catch {
    return DEFAULT_PALETTE;
  }
}

/** @param {Palette} palette */
export function storePalette(palette) {
  try {
    localStorage.setItem(KEY, palette);
  } catch {
    // It is refused, or full: the choice is for this visit.
  }
}

/**
 * What to ask the server for, and how to colour it; a palette is of the depth view only.
 * @param {View} view
 * @param {Palette} palette
 * @returns {[View, Palette]}
 */
export function served(view, palette) {
  return view === 'depth' && palette !== DEFAULT_PALETTE ? ['gray', palette] : [view, DEFAULT_PALETTE];
}

/**
 * For a legend.
 * @param {string} direction
 * @param {Palette} palette
 */
export const gradient = (direction, palette) =>
  `linear-gradient(${direction}, ${colours(palette).map((hex) => `#${hex}`).join(', ')})`;

/**
 * Colour a media element; the filters must be in its document.
 * @param {HTMLElement} element
 * @param {Palette} palette
 */
export function paint(element, palette) {
  element.dataset.palette = palette;
  element.style.filter = FILTERED.includes(palette) ? `url(#palette-${palette})` : '';
}

/** Put the filters into the document. */
export function installFilters() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'filters');
  svg.setAttribute('aria-hidden', 'true');
  for (const palette of FILTERED) {
    const filter = svg.appendChild(document.createElementNS(SVG, 'filter'));
    filter.id = `palette-${palette}`;
    filter.setAttribute('color-interpolation-filters', 'sRGB');
    const transfer = filter.appendChild(document.createElementNS(SVG, 'feComponentTransfer'));
    ['R', 'G', 'B'].forEach((name, i) => {
      const table = transfer.appendChild(document.createElementNS(SVG, `feFunc${name}`));
      table.setAttribute('type', 'table');
      table.setAttribute('tableValues', channel(palette, i).map((value) => value.toFixed(3)).join(' '));
    });
  }
  document.body.append(svg);
}

/**
 * A gray picture, coloured: PNG.
 * @param {Blob} blob
 * @param {Palette} palette
 */
export async function colour(blob, palette) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d');
  if (!context) throw new TypeError('This browser cannot draw.');
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  recolour(image.data, [0, 1, 2].map((i) => lookupTable(channel(palette, i))));
  context.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}

/**
 * Each pixel's red, green and blue by its gray.
 * @param {Uint8ClampedArray} pixels RGBA
 * @param {Uint8ClampedArray[]} tables
 */
export function recolour(pixels, tables) {
  for (let at = 0; at < pixels.length; at += 4) {
    const gray = pixels[at] ?? 0;
    tables.forEach((table, i) => { pixels[at + i] = table[gray] ?? 0; });
  }
}

/**
 * 256 values from samples between 0 and 1.
 * @param {number[]} samples at least two
 */
export function lookupTable(samples) {
  return Uint8ClampedArray.from({ length: 256 }, (_, gray) => {
    const place = (gray / 255) * (samples.length - 1);
    const before = Math.min(Math.floor(place), samples.length - 2);
    const [low = 0, high = 0] = samples.slice(before, before + 2);
    return 255 * (low + (high - low) * (place - before));
  });
}
