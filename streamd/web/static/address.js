// The address names what is shown, so that it can be shared and kept:
// #stream=NAME&view=VIEW for one large, #layout=grid for all; &view.NAME=VIEW where a tile differs from depth.

/** @import { Shown } from './types.js' */

import { has } from './dom.js';

export const VIEWS = {
  depth: 'Depth',
  overlay: 'Overlay',
  'side-by-side': 'Side by side',
  source: 'Source',
  gray: 'Gray',
  rgbd: 'RGB-D',
};
export const DEFAULT_VIEW = 'depth';
const VIEW_KEY = 'view.';

/**
 * What it is missing or does not know is left out.
 * @param {string} hash
 * @returns {Shown}
 */
export function parseAddress(hash) {
  const query = new URLSearchParams(hash.slice(1));
  const stream = query.get('stream') || null;
  /** @type {Shown['views']} */
  const views = new Map();
  for (const [key, view] of query) {
    if (key.startsWith(VIEW_KEY) && has(VIEWS, view)) views.set(key.slice(VIEW_KEY.length), view);
  }
  const view = query.get('view');
  if (stream && has(VIEWS, view)) views.set(stream, view);
  return { layout: stream ? 'one' : query.get('layout') === 'grid' ? 'grid' : null, stream, views };
}

/**
 * The stream of /embed/NAME. Raises nothing: what is no encoding is taken as it is.
 * @param {string} path
 */
export function embeddedName(path) {
  const name = path.split('/').filter(Boolean).at(-1) ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** @param {Shown} shown */
export function pageAddress({ layout, stream, views }) {
  if (layout === 'one' && stream) return `#${new URLSearchParams({ stream, view: views.get(stream) ?? DEFAULT_VIEW })}`;
  const query = new URLSearchParams({ layout: 'grid' });
  for (const [name, view] of views) if (view !== DEFAULT_VIEW) query.set(VIEW_KEY + name, view);
  return `#${query}`;
}
