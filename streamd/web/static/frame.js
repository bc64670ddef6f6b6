// What stands around the pictures: the list of streams, the head, the buttons and the legend.

import { DEFAULT_VIEW, VIEWS, addressOf } from './address.js';
import { $, copyOf, isNumber, joined, write } from './dom.js';
import { gradient, served } from './palettes.js';

const streamsOf = (page) => page.news.answer?.streams ?? [];
const wordFor = (page, stream) => (page.news.gone ? 'no answer' : stream?.state);

export function renderSide(page) {
  const { state, news } = page;
  const streams = streamsOf(page);
  const list = $('streams');
  if (list.children.length !== streams.length || streams.some(({ name }, i) => list.children[i].dataset.name !== name)) {
    list.replaceChildren(...streams.map(streamItem));
  }
  streams.forEach((stream, i) => {
    const link = list.children[i].firstElementChild;
    const [dot, , detail] = link.children;
    link.href = addressOf({ ...state, layout: 'one', stream: stream.name });
    link.title = stream.reason ?? '';
    markCurrent(link, state.layout === 'one' && stream.name === state.stream);
    dot.dataset.state = wordFor(page, stream);
    write(detail, joined(' · ', wordFor(page, stream), stream.recording && 'recording'));
  });
  $('all').hidden = streams.length < 2;
  $('all').href = addressOf({ ...state, layout: 'grid' });
  markCurrent($('all'), state.layout === 'grid');
  $('log-out').hidden = news.session?.by !== 'cookie' || news.locked;
  write($('version'), news.answer?.version ? `version ${news.answer.version}` : '');
}

function streamItem({ name }) {
  const item = copyOf('stream');
  item.dataset.name = name;
  item.firstElementChild.dataset.testid = `stream-${name}`;
  item.querySelector('b').textContent = name;
  return item;
}

function markCurrent(link, chosen) {
  if (chosen && link.ariaCurrent !== 'true') link.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  link.ariaCurrent = String(chosen);
}

export function renderHead(page, stream) {
  const { state, news } = page;
  const one = state.layout === 'one';
  const word = news.locked ? 'token needed' : one ? wordFor(page, stream) ?? (news.answer ? 'no stream' : 'connecting') : summary(page);
  write($('name'), one ? state.stream : state.layout === 'grid' ? 'All streams' : 'Live depth');
  write($('state'), word);
  $('dot').dataset.state = one || news.locked ? word : '';
  $('dot').hidden = !one && !news.locked;
  const trouble = stream?.recording_error && `not recording: ${stream.recording_error}`;
  write($('reason'), news.gone || !one ? '' : joined(' · ', stream?.reason, trouble));
  $('back').hidden = !one || streamsOf(page).length < 2;
  const shown = one ? `${state.stream}, ${VIEWS[state.views.get(state.stream) ?? DEFAULT_VIEW]} – ` : '';
  document.title = `${shown}streamd`;
}

/** "3 running, 1 idle": the usual first. */
function summary(page) {
  if (page.news.gone) return 'no answer';
  const counts = new Map();
  for (const { state } of streamsOf(page)) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([state, count]) => `${count} ${state}`).join(', ');
}

export function renderControls(page, stream, view) {
  const { state } = page;
  const one = state.layout === 'one';
  const available = stream?.views ?? Object.keys(VIEWS);
  for (const button of $('views').children) {
    button.ariaPressed = String(button.dataset.view === view);
    button.hidden = !available.includes(button.dataset.view);
  }
  const wanted = Boolean(stream?.recording_views?.includes(view));
  const active = stream?.recording_active?.includes(view) ?? wanted;
  $('record').ariaPressed = String(wanted);
  $('record').dataset.trouble = String(wanted && !active);
  const mayOnlyLook = page.news.session?.access === 'view';
  $('record').disabled = mayOnlyLook;
  $('record').title = mayOnlyLook ? 'This token may only look' : wanted ? 'Stop recording this view (r)' : 'Record this view (r)';
  write($('record').lastElementChild, !wanted ? 'Record' : active ? 'Recording' : 'Not recording');
  $('palette').value = state.palette;
  renderLegend(one ? view : DEFAULT_VIEW, state.palette, stream);
}

function renderLegend(view, palette, stream) {
  const shown = ['gray', 'rgbd'].includes(view) ? 'gray' : served(view, palette)[1];
  const [ramp] = document.getElementsByClassName('ramp');
  const key = `${view} ${shown}`;
  $('stage').dataset.view = view;
  if (ramp.dataset.key !== key) {
    ramp.dataset.key = key;
    ramp.style.setProperty('--up', gradient('to top', shown));
    ramp.style.setProperty('--left', gradient('to left', shown));
  }
  const bright = shown === 'turbo' ? 'red = near' : 'bright = near';
  const alpha = isNumber(stream?.overlay_alpha) ? `${Math.round(stream.overlay_alpha * 100)} % depth over the picture` : 'depth over the picture';
  write($('scale-note'), joined(', ', bright, view === 'overlay' ? alpha : 'relative — not metres'));
  $('palette').disabled = ['source', 'gray', 'rgbd', 'overlay', 'side-by-side'].includes(view);
  $('palette').title = $('palette').disabled ? 'Palettes are of the depth view' : 'Palette (p)';
}

