// The address names what is shown, so that it can be shared and kept:
// #stream=NAME&view=VIEW for one large, #layout=grid for all; &view.NAME=VIEW where a tile differs from depth.

export const VIEWS = {
  depth: 'Depth',
  overlay: 'Overlay',
  'side-by-side': 'Side by side',
  source: 'Source',
  gray: 'Gray',
  rgbd: 'RGB-D',
};
export const DEFAULT_VIEW = 'depth';
const VIEW_OF = 'view.';

/** {layout: 'one' | 'grid' | null, stream, views: Map of stream to view}. */
export function parseAddress(hash) {
  const query = new URLSearchParams(hash.slice(1));
  const stream = query.get('stream') || null;
  const views = new Map();
  for (const [key, view] of query) if (key.startsWith(VIEW_OF)) views.set(key.slice(VIEW_OF.length), view);
  if (stream && query.get('view')) views.set(stream, query.get('view'));
  for (const [name, view] of views) if (!(view in VIEWS)) views.delete(name);
  return { layout: stream ? 'one' : query.get('layout') === 'grid' ? 'grid' : null, stream, views };
}

export function addressOf({ layout, stream, views }) {
  if (layout === 'one') return `#${new URLSearchParams({ stream, view: views.get(stream) ?? DEFAULT_VIEW })}`;
  const query = new URLSearchParams({ layout: 'grid' });
  for (const [name, view] of views) if (view !== DEFAULT_VIEW) query.set(VIEW_OF + name, view);
  return `#${query}`;
}
