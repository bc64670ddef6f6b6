// A WHEP draft-03 viewer: one video over WebRTC, kept alive until it is left.
// Session is one offer and answer, never used twice. WhepViewer has the patience: back-off, jitter, Retry-After.

/** @import { Phase, PhaseChange } from './types.js' */

import { ApiError, asApiError, errorFrom } from './api.js';
import { fetchIceServers } from './ice.js';
import { Measuring } from './measuring.js';

const CONNECT_TIMEOUT_MS = 10_000; // from the offer to an open media path
const DISCONNECT_GRACE_MS = 2_500; // "disconnected" often heals by itself
const HEALTHY_MS = 10_000; // connected this long: the next failure starts the back-off afresh
const BACKOFF_FIRST_MS = 500;
const BACKOFF_CAP_MS = 15_000;
const HOPELESS = new Set([400, 401, 403, 406, 415, 422]); // asking again changes nothing
const CAPTURE_TIME = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';

/** Not in Firefox before 128. @param {RTCRtpTransceiver} transceiver */
function preferH264(transceiver) {
  if (!('setCodecPreferences' in transceiver && 'getCapabilities' in RTCRtpReceiver)) return;
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  /** @param {RTCRtpCodec} codec */
  const rank = ({ mimeType }) => (/h264/i.test(mimeType) ? 0 : 1);
  transceiver.setCodecPreferences([...codecs].sort((a, b) => rank(a) - rank(b)));
}

/**
 * Chromium's, a draft: https://w3c.github.io/webrtc-extensions/#rtp-header-extension-control
 * @typedef {RTCRtpTransceiver & {
 *   getHeaderExtensionsToNegotiate?: () => {uri: string, direction: string}[],
 *   setHeaderExtensionsToNegotiate?: (extensions: {uri: string, direction: string}[]) => void,
 * }} ExtensibleTransceiver
 */

/**
 * Ask for the time of capture with the pictures; Chromium offers it only then.
 * @param {ExtensibleTransceiver} transceiver
 */
function wantCaptureTime(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate?.();
  const wanted = extensions?.find(({ uri }) => uri === CAPTURE_TIME);
  if (!extensions || !wanted) return;
  wanted.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate?.(extensions);
}

/**
 * Raises ApiError (no_webrtc) where the browser has none, or has it switched off.
 * @param {RTCConfiguration} configuration
 */
function peerConnection(configuration) {
  try {
    return new RTCPeerConnection(configuration);
  } catch {
    throw new ApiError('This browser has no WebRTC.', { code: 'no_webrtc' });
  }
}

/**
 * @typedef {{
 *   onStream: (stream: MediaStream, receiver: RTCRtpReceiver) => void,
 *   onOpen: () => void,
 *   onLost: (error: ApiError) => void,
 * }} SessionCallbacks
 */

class Session {
  /** @type {RTCPeerConnection | null} */
  pc = null;
  answered = false; // it is the media path that is missing
  /** @type {string | null} */
  #resource = null;
  #closed = false;
  #opened = false;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {string} url
   * @param {SessionCallbacks} callbacks
   */
  constructor(url, callbacks) {
    this.url = url;
    this.callbacks = callbacks;
    this.#follow('new');
    this.#negotiate().catch((/** @type {unknown} */ error) => { this.#lose(asApiError(error)); });
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.pc) this.pc.onconnectionstatechange = this.pc.ontrack = null;
    if (this.#transport()?.state === 'closed') this.#resource = null; // the server ended it already
    void this.#delete().finally(() => this.pc?.close()); // in this order, else DELETE may find no session
  }

  /** The offer goes out at once: the server's candidates are in the answer, ours reach it with the first check. */
  async #negotiate() {
    const iceServers = await fetchIceServers(this.url);
    if (this.#closed) return;
    const pc = (this.pc = peerConnection({ bundlePolicy: 'max-bundle', iceServers }));
    pc.ontrack = ({ streams: [stream], track, receiver }) => {
      this.callbacks.onStream(stream ?? new MediaStream([track]), receiver);
    };
    pc.onconnectionstatechange = () => { this.#follow(pc.connectionState); };
    const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(transceiver);
    wantCaptureTime(transceiver);
    await pc.setLocalDescription();
    const sdp = await this.#offer(pc.localDescription?.sdp ?? '');
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may have been closed meanwhile
    if (this.#closed) {
      await this.#delete(); // left while the offer was under way
      return;
    }
    await pc.setRemoteDescription({ type: 'answer', sdp });
    const transport = this.#transport();
    transport?.addEventListener('statechange', () => {
      if (transport.state === 'closed') this.#lose(new ApiError('The server ended the session.', { code: 'ended' }));
    });
  }

  /**
   * The answer. Raises ApiError.
   * @param {string} body
   */
  async #offer(body) {
    const headers = { 'Content-Type': 'application/sdp' };
    const response = await fetch(this.url, { method: 'POST', headers, body }).catch(() => {
      throw new ApiError('streamd does not answer.');
    });
    if (response.status !== 201) throw await errorFrom(response);
    this.answered = true;
    const location = response.headers.get('Location');
    if (location) this.#resource = new URL(location, response.url).href;
    return response.text();
  }

  #transport() {
    return this.pc?.getReceivers()[0]?.transport;
  }

  /** @param {RTCPeerConnectionState} state */
  #follow(state) {
    clearTimeout(this.#timer);
    if (state === 'connected') {
      this.#opened = true;
      this.callbacks.onOpen();
    } else if (state === 'disconnected') this.#arm(DISCONNECT_GRACE_MS);
    else if (state === 'failed') this.#lose(this.#whyLost());
    else this.#arm(CONNECT_TIMEOUT_MS);
  }

  #whyLost() {
    if (this.#opened) return new ApiError('The connection was lost.', { code: 'lost' });
    if (this.answered) return new ApiError('No media path to the server.', { code: 'no_media_path' });
    return new ApiError('streamd does not answer.');
  }

  /** @param {number} delayMs */
  #arm(delayMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#lose(this.#whyLost()); }, delayMs);
  }

  /** @param {ApiError} error */
  #lose(error) {
    if (this.#closed) return;
    this.close();
    this.callbacks.onLost(error);
  }

  async #delete() {
    const resource = this.#resource;
    this.#resource = null;
    const request = { method: 'DELETE', keepalive: true, signal: AbortSignal.timeout(5000) };
    if (resource) await fetch(resource, request).catch(() => {});
  }
}

export class WhepViewer {
  /** @type {Session | null} */
  #session = null;
  #url = '';
  #failures = 0;
  #connectedAt = 0;
  /** @type {number | undefined} */
  #timer;
  #measuring = new Measuring();

  /** @type {Phase} */
  phase = 'stopped'; // waiting will try again by itself, failed will not

  /** @param {{onStream: SessionCallbacks['onStream'], onState: (change: PhaseChange) => void}} callbacks */
  constructor({ onStream, onState }) {
    this.onStream = onStream;
    this.onState = onState;
  }

  /**
   * Leave what plays now and connect to the endpoint `url` at once.
   * @param {string} url
   */
  play(url) {
    this.#leave();
    this.#url = url;
    this.#failures = 0;
    this.#connect();
  }

  /** Cut a wait short, or try again after a failure. */
  retry() {
    if (this.phase === 'waiting' || this.phase === 'failed') this.#connect();
  }

  /**
   * Give this session up, for example because no pictures arrive, and get another.
   * @param {string} reason
   */
  reconnect(reason) {
    if (this.phase !== 'connected') return;
    this.#leave();
    this.#wait(new ApiError(reason, { code: 'stalled' }));
  }

  /** End the session. Safe while the page is going away. */
  stop() {
    this.#leave();
    this.#url = '';
    this.#enter('stopped');
  }

  /** Whether streamd has answered the offer that is under way. */
  get answered() {
    return Boolean(this.#session?.answered);
  }

  /** What arrived since the last call, see Measuring; null while there is no connection. */
  async measure() {
    const session = this.#session;
    if (!session?.pc || this.phase !== 'connected') return null;
    const measured = this.#measuring.take(await session.pc.getStats());
    return session === this.#session ? measured : null;
  }

  #connect() {
    this.#leave();
    this.#enter('connecting');
    this.#session = new Session(this.#url, {
      onStream: this.onStream,
      onOpen: () => {
        this.#connectedAt ||= performance.now();
        this.#enter('connected');
      },
      onLost: (error) => { this.#wait(error); },
    });
  }

  #leave() {
    clearTimeout(this.#timer);
    if (this.#connectedAt && performance.now() - this.#connectedAt > HEALTHY_MS) this.#failures = 0;
    this.#connectedAt = 0;
    this.#measuring = new Measuring();
    this.#session?.close();
    this.#session = null;
  }

  /** @param {ApiError} error */
  #wait(error) {
    this.#leave();
    if (HOPELESS.has(error.status) || error.code === 'no_webrtc') {
      this.#enter('failed', error);
      return;
    }
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** this.#failures++);
    const delayMs = error.retryAfterMs === null
      ? ceiling * (0.5 + Math.random() / 2)
      : error.retryAfterMs + Math.random() * 1000; // spread the viewers
    this.#timer = setTimeout(() => { this.#connect(); }, delayMs);
    this.#enter('waiting', error);
  }

  /**
   * @param {Phase} phase
   * @param {ApiError | null} [error]
   */
  #enter(phase, error = null) {
    this.phase = phase;
    this.onState({ phase, error });
  }
}
