// What stands around the pictures: the list of streams, the head, the buttons and the legend.

/** @import { Page, Palette, Stream, View } from './types.js' */

import { DEFAULT_VIEW, VIEWS, pageAddress } from './address.js';
import { $, cloneTemplate, isNumber, joined, typedKeys, part, write } from './dom.js';
import { gradient, served } from './palettes.js';

/** @param {Page} page */
const pageStreams = (page) => page.news.answer?.streams ?? [];
/**
 * @param {Page} page
 * @param {Stream | null | undefined} stream
 */
const wordFor = (page, stream) => (page.news.gone ? 'no answer' : stream?.state);

/** @param {Page} page */
export function renderSide(page) {
  const { state, news } = page;
  const streams = pageStreams(page);
  const list = $('streams');
  const items = () => /** @type {HTMLElement[]} */ ([...list.children]);
  if (joined('/', ...items().map((item) => item.dataset.name)) !== joined('/', ...streams.map(({ name }) => name))) {
    list.replaceChildren(...streams.map(streamItem));
  }
  items().forEach((item, i) => {
    const stream = streams[i];
    if (!stream) return;
    const link = part(item, 'a', HTMLAnchorElement);
    link.href = pageAddress({ ...state, layout: 'one', stream: stream.name });
    link.title = stream.reason ?? '';
    markCurrent(link, state.layout === 'one' && stream.name === state.stream);
    part(link, '.dot').dataset.state = wordFor(page, stream);
    write(part(link, 'small'), joined(' · ', wordFor(page, stream), stream.recording && 'recording'));
  });
  const all = $('all', HTMLAnchorElement);
  all.hidden = streams.length < 2;
  all.href = pageAddress({ ...state, layout: 'grid' });
  markCurrent(all, state.layout === 'grid');
  $('log-out').hidden = news.session?.by !== 'cookie' || news.locked;
  write($('version'), news.answer?.version ? `version ${news.answer.version}` : '');
}

/** @param {Stream} stream */
function streamItem({ name }) {
  const item = cloneTemplate('stream');
  item.dataset.name = name;
  part(item, 'a').dataset.testid = `stream-${name}`;
  part(item, 'b').textContent = name;
  return item;
}

/**
 * @param {HTMLElement} link
 * @param {boolean} chosen
 */
function markCurrent(link, chosen) {
  if (chosen && link.ariaCurrent !== 'true') link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  link.ariaCurrent = String(chosen);
}

/**
 * @param {Page} page
 * @param {Stream | null} stream
 */
export function renderHead(page, stream) {
  const { state, news } = page;
  const one = state.layout === 'one';
  const name = state.stream ?? '';
  const word = headWord(page, stream);
  write($('name'), one ? name : state.layout === 'grid' ? 'All streams' : 'Live depth');
  write($('state'), word);
  $('dot').dataset.state = one || news.locked ? word : '';
  $('dot').hidden = !one && !news.locked;
  const trouble = stream?.recording_error && `not recording: ${stream.recording_error}`;
  write($('reason'), news.gone || !one ? '' : joined(' · ', stream?.reason, trouble, stream?.calibration?.calibrated && !stream.calibration.in_use && `metres: ${stream.calibration.reason ?? ''}`));
  $('back').hidden = !one || pageStreams(page).length < 2;
  const shown = one ? `${name}, ${VIEWS[state.views.get(name) ?? DEFAULT_VIEW]} – ` : '';
  document.title = `${shown}streamd`;
}

/**
 * @param {Page} page
 * @param {Stream | null} stream
 */
function headWord(page, stream) {
  if (page.news.locked) return 'token needed';
  if (page.state.layout !== 'one') return summary(page);
  return wordFor(page, stream) ?? (page.news.answer ? 'no stream' : 'connecting');
}

/**
 * "3 running, 1 idle": the usual first.
 * @param {Page} page
 */
function summary(page) {
  if (page.news.gone) return 'no answer';
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of pageStreams(page)) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([state, count]) => `${count} ${state}`).join(', ');
}

/**
 * @param {Page} page
 * @param {Stream | null} stream
 * @param {View} view
 */
export function renderControls(page, stream, view) {
  const { state } = page;
  const one = state.layout === 'one';
  const available = stream?.views ?? typedKeys(VIEWS);
  for (const button of $('views').querySelectorAll('button')) {
    button.ariaPressed = String(button.dataset.view === view);
    button.hidden = !available.some((each) => each === button.dataset.view);
  }
  const wanted = Boolean(stream?.recording_views?.includes(view));
  renderRecord(wanted, stream?.recording_active?.includes(view) ?? wanted, page.news.session?.access === 'view');
  $('palette', HTMLSelectElement).value = state.palette;
  $('zones').hidden = !(one ? [stream] : pageStreams(page)).some((each) => each?.zones?.length);
  $('zones').ariaPressed = String(state.zones);
  renderLegend(one ? view : DEFAULT_VIEW, state.palette, stream);
}

/**
 * @param {boolean} wanted
 * @param {boolean} active
 * @param {boolean} mayOnlyView
 */
function renderRecord(wanted, active, mayOnlyView) {
  const button = $('record', HTMLButtonElement);
  button.ariaPressed = String(wanted);
  button.dataset.trouble = String(wanted && !active);
  button.disabled = mayOnlyView;
  button.title = mayOnlyView ? 'This token may only view' : wanted ? 'Stop recording this view (r)' : 'Record this view (r)';
  write(part(button, 'span'), !wanted ? 'Record' : active ? 'Recording' : 'Not recording');
}

/**
 * @param {View} view
 * @param {Palette} palette
 * @param {Stream | null} stream
 */
function renderLegend(view, palette, stream) {
  const shown = ['gray', 'rgbd'].includes(view) ? 'gray' : served(view, palette)[1];
  const ramp = part(document, '.ramp');
  const key = `${view} ${shown}`;
  $('stage').dataset.view = view;
  if (ramp.dataset.key !== key) {
    ramp.dataset.key = key;
    ramp.style.setProperty('--up', gradient('to top', shown));
    ramp.style.setProperty('--left', gradient('to left', shown));
  }
  const bright = shown === 'turbo' ? 'red = near' : 'bright = near';
  const alpha = isNumber(stream?.overlay_alpha) ? `${Math.round(stream.overlay_alpha * 100)} % ` : '';
  write($('scale-note'), joined(', ', bright, view === 'overlay' ? `${alpha}depth over the picture` : stream?.calibration?.in_use ? 'calibrated: point at it for metres' : 'relative — not metres'));
  const select = $('palette', HTMLSelectElement);
  select.disabled = view !== 'depth';
  select.title = select.disabled ? 'Palettes are of the depth view' : 'Palette (p)';
}
