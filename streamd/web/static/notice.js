// What is written over a picture: what is wrong, and what to do about it.

import { write } from './dom.js';

/** States in which a stream gives no picture, and that asking again does not change. */
const OVER = { failed: 'has failed', ended: 'has ended', stopping: 'is stopping' };
export const isOver = (stream) => stream?.state in OVER;
export const sleeps = (stream) => stream?.mode === 'on_demand';

const PARTS = ['title', 'text', 'code', 'button'];

/** Of one tile: {title, text, button, act, busy, quiet}, or null when there is nothing to say. */
export function tileNotice({ name, stream, player, large, live, gone }) {
  if (gone && !player.shows) {
    return { title: 'streamd does not answer', text: large ? 'Trying again.' : '', busy: true };
  }
  if (!large && !live) {
    if (isOver(stream)) return { title: `${name} ${OVER[stream.state]}`, text: stream.reason };
    if (sleeps(stream)) return { title: stream.state === 'idle' ? 'Idle: click to watch' : 'On demand: click to watch', play: true };
    return player.picture ? null : { title: stream?.state ?? '', text: stream?.reason, quiet: true };
  }
  if (player.blocked) return { title: 'Ready', button: 'Play', act: () => player.video.play() };
  if (player.shows) return null;
  if (isOver(stream)) return { title: `${name} ${OVER[stream.state]}`, text: stream.reason };
  if (player.phase === 'failed') return { title: 'This stream cannot be played here', text: player.error?.message, ...tryNow(player) };
  if (player.via === 'mjpeg' && !large && stream?.state !== 'running') return { title: stream?.state, text: stream?.reason };
  if (player.error) {
    return { title: 'No picture; trying again', text: stream?.reason ?? player.error.message, busy: true, ...tryNow(player) };
  }
  if (stream?.mode === 'on_demand' && stream.state === 'starting') return { title: 'Waking up', busy: true };
  return { title: 'Connecting', busy: true, quiet: true };
}

const tryNow = (player) => ({ button: 'Try now', act: () => player.retry() });

/** Of the whole page, or null: {title, text, code, form}. */
export function pageNotice(news, chosen) {
  if (news.locked) {
    return { title: 'This streamd asks for a token', text: 'It is one of view_tokens or control_tokens in its configuration.', form: true };
  }
  if (!news.answer && news.gone && !chosen) {
    const text = 'If it stays away, look at its service:';
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

/** Put it into its box, whose parts have these names as classes. */
export function writeNotice(box, notice) {
  box.hidden = !notice;
  box.parentElement.classList.toggle('dim', Boolean(notice && !notice.quiet));
  if (!notice) return;
  box.classList.toggle('quiet', Boolean(notice.quiet));
  box.querySelector('.busy').hidden = !notice.busy;
  const play = box.querySelector('.play');
  if (play) play.toggleAttribute('hidden', !notice.play);
  for (const part of PARTS) {
    const node = box.querySelector(`.${part}`);
    if (!node) continue;
    node.hidden = !notice[part];
    write(node, notice[part] ?? '');
    if (part === 'button') node.onclick = notice.act ?? null;
  }
}
