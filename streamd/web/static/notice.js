// What is written over a picture: what is wrong, and what to do about it.

/** @import { News } from './api.js' */
/** @import { Player } from './player.js' */
/** @import { Notice, Stream, TileState } from './types.js' */

import { has, part, write } from './dom.js';

/** States in which a stream gives no picture, and that asking again does not change. */
const OVER = { failed: 'has failed', ended: 'has ended', stopping: 'is stopping' };

/** @param {Stream | null} stream */
export const isOver = (stream) => has(OVER, stream?.state);
/** @param {Stream | null} stream */
export const sleeps = (stream) => stream?.mode === 'on_demand';

/** @type {('title' | 'text' | 'code' | 'button')[]} */
const PARTS = ['title', 'text', 'code', 'button'];

/**
 * That it is over, or null.
 * @param {string} name
 * @param {Stream | null} stream
 * @returns {Notice | null}
 */
function overNotice(name, stream) {
  return stream && has(OVER, stream.state) ? { title: `${name} ${OVER[stream.state]}`, text: stream.reason } : null;
}

/**
 * Of one tile; null when there is nothing to show.
 * @param {TileState} tile
 * @returns {Notice | null}
 */
export function tileNotice(tile) {
  const { name, stream, player, large, live, gone } = tile;
  if (gone && !player.shows) {
    return { title: 'streamd does not answer', text: large ? 'Trying again.' : '', busy: true };
  }
  if (large || live) return playingNotice(tile);
  if (isOver(stream)) return overNotice(name, stream);
  if (sleeps(stream)) return { title: stream?.state === 'idle' ? 'Idle: click to watch' : 'On demand: click to watch', play: true };
  return player.picture ? null : { title: stream?.state ?? '', text: stream?.reason, quiet: true };
}

/**
 * Of one that plays, or should.
 * @param {TileState} tile
 * @returns {Notice | null}
 */
function playingNotice({ name, stream, player, large }) {
  if (player.blocked) return { title: 'Ready', button: 'Play', act: () => player.play() };
  if (player.shows) return null;
  if (isOver(stream)) return overNotice(name, stream);
  if (player.phase === 'failed') return { title: 'This stream cannot be played here', text: player.error?.message, ...tryNow(player) };
  if (player.via === 'mjpeg' && !large && stream?.state !== 'running') return { title: stream?.state ?? '', text: stream?.reason };
  if (player.error) {
    return { title: 'No picture; trying again', text: stream?.reason ?? player.error.message, busy: true, ...tryNow(player) };
  }
  if (stream?.mode === 'on_demand' && stream.state === 'starting') return { title: 'Waking up', busy: true };
  return { title: 'Connecting', busy: true, quiet: true };
}

/** @param {Player} player */
const tryNow = (player) => ({ button: 'Try now', act: () => { player.retry(); } });

/**
 * Of the whole page, or null.
 * @param {News} news
 * @param {string | null} chosen
 * @returns {Notice | null}
 */
export function pageNotice(news, chosen) {
  if (news.locked) {
    return { title: 'This streamd asks for a token', text: 'It is one of view_tokens or control_tokens in its configuration.', form: true };
  }
  if (!news.answer && news.gone && !chosen) {
    const text = 'If it stays away, check its service:';
    return { title: 'streamd does not answer; trying again', text, code: 'systemctl status streamd', busy: true };
  }
  if (!news.answer) return chosen ? null : { title: 'Connecting', busy: true, quiet: true };
  if (!news.answer.streams.length) {
    const text = 'Add [streams.NAME] to the configuration, or start one:';
    return { title: 'No streams yet', text, code: 'streamd run rtsp://camera.local/stream' };
  }
  if (chosen && !news.stream(chosen)) return { title: `There is no stream “${chosen}”`, text: 'Choose one from the list.' };
  return null;
}

/**
 * Put it into its box, whose parts have these names as classes.
 * @param {HTMLElement} box
 * @param {Notice | null} notice
 */
export function writeNotice(box, notice) {
  box.hidden = !notice;
  box.parentElement?.classList.toggle('dim', Boolean(notice && !notice.quiet));
  if (!notice) return;
  box.classList.toggle('quiet', Boolean(notice.quiet));
  part(box, '.busy').hidden = !notice.busy;
  box.querySelector('.play')?.toggleAttribute('hidden', !notice.play);
  for (const name of PARTS) {
    const node = box.querySelector(`.${name}`);
    if (!(node instanceof HTMLElement)) continue;
    node.hidden = !notice[name];
    write(node, notice[name] ?? '');
    if (name === 'button') node.onclick = () => notice.act?.();
  }
}
