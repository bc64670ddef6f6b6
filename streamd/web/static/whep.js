// A WHEP draft-03 viewer: one video over WebRTC, kept alive until it is left.
// Session is one offer and answer, never used twice. WhepViewer has the patience: back-off, jitter, Retry-After.

const CONNECT_TIMEOUT_MS = 10_000; // from the offer to an open media path
const DISCONNECT_GRACE_MS = 2_500; // "disconnected" often heals by itself
const HEALTHY_MS = 10_000; // connected this long: the next failure starts the back-off afresh
const BACKOFF_FIRST_MS = 500;
const BACKOFF_CAP_MS = 15_000;
const HOPELESS = new Set([400, 401, 403, 406, 415, 422]); // asking again changes nothing

/** Why a session could not start or ended. `status` is 0 without an HTTP answer; `code` is the server's, or ours. */
export class WhepError extends Error {
  constructor(message, { status = 0, code = 'network', retryAfterMs = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfterMs });
  }
}

/** The WhepError for an answer that says no: {"error": {code, message}} and Retry-After. */
export async function errorFrom(response) {
  const { error = {} } = await response.json().catch(() => ({}));
  const retryAfter = response.headers.get('Retry-After');
  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  const ms = Number.isNaN(seconds) ? Date.parse(retryAfter) - Date.now() : seconds * 1000; // or a date
  return new WhepError(error.message ?? `The server answered ${response.status}.`, {
    status: response.status,
    code: error.code ?? 'http',
    retryAfterMs: Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 60_000) : null,
  });
}

function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs ?? [];
  const rank = ({ mimeType }) => (/h264/i.test(mimeType) ? 0 : 1);
  transceiver.setCodecPreferences?.([...codecs].sort((a, b) => rank(a) - rank(b)));
}

class Session {
  #resource = null;
  #closed = false;
  #timer;

  constructor(url, { headers, onStream, onOpen, onLost }) {
    Object.assign(this, { url, headers, onOpen, onLost });
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc.ontrack = ({ streams, track }) => onStream(streams[0] ?? new MediaStream([track]));
    this.pc.onconnectionstatechange = () => this.#follow(this.pc.connectionState);
    this.#follow('new');
    this.#negotiate().catch((error) => this.#lose(error));
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.pc.onconnectionstatechange = this.pc.ontrack = null;
    if (this.#transport()?.state === 'closed') this.#resource = null; // the server ended it already
    this.#delete().finally(() => this.pc.close()); // in this order, else DELETE may find no session
  }

  /** The offer goes out at once: the server's candidates are in the answer, ours reach it with the first check. */
  async #negotiate() {
    const transceiver = this.pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(transceiver);
    await this.pc.setLocalDescription();
    const headers = { ...this.headers(), 'Content-Type': 'application/sdp' };
    const body = this.pc.localDescription.sdp;
    const response = await fetch(this.url, { method: 'POST', headers, body }).catch(() => {
      throw new WhepError('streamd does not answer.');
    });
    if (response.status !== 201) throw await errorFrom(response);
    const location = response.headers.get('Location');
    if (location) this.#resource = new URL(location, response.url).href;
    const sdp = await response.text();
    if (this.#closed) return this.#delete(); // left while the offer was under way
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    const transport = this.#transport();
    transport?.addEventListener('statechange', () => {
      if (transport.state === 'closed') this.#lose(new WhepError('The server ended the session.', { code: 'ended' }));
    });
  }

  #transport() {
    return this.pc.getReceivers()[0]?.transport;
  }

  #follow(state) {
    clearTimeout(this.#timer);
    const lost = new WhepError('The connection was lost.', { code: 'lost' });
    if (state === 'connected') this.onOpen();
    else if (state === 'disconnected') this.#arm(DISCONNECT_GRACE_MS, lost);
    else if (state === 'failed') this.#lose(lost);
    else this.#arm(CONNECT_TIMEOUT_MS, new WhepError('No media path to the server.', { code: 'no_media_path' }));
  }

  #arm(delayMs, error) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(error), delayMs);
  }

  #lose(error) {
    if (this.#closed) return;
    this.close();
    this.onLost(error);
  }

  async #delete() {
    const resource = this.#resource;
    this.#resource = null;
    const request = { method: 'DELETE', headers: this.headers(), keepalive: true, signal: AbortSignal.timeout(5000) };
    if (resource) await fetch(resource, request).catch(() => {});
  }
}

export class WhepViewer {
  #session = null;
  #url = null;
  #failures = 0;
  #connectedAt = 0;
  #timer;
  #before = null;

  /**
   * onStream(MediaStream); onState({phase, error}) with phase connecting, connected, waiting (will try again by
   * itself), failed (will not) or stopped; headers() returns what every request carries, such as Authorization.
   */
  constructor({ onStream, onState, headers = () => ({}) }) {
    Object.assign(this, { onStream, onState, headers });
    this.phase = 'stopped';
  }

  /** Leave what plays now and connect to the endpoint `url` at once. */
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

  /** Give this session up, because no pictures arrive, say, and get another. */
  reconnect(reason) {
    if (this.phase !== 'connected') return;
    this.#leave();
    this.#wait(new WhepError(reason, { code: 'stalled' }));
  }

  /** End the session. Safe while the page is going away. */
  stop() {
    this.#leave();
    this.#url = null;
    this.#enter('stopped');
  }

  /** What arrived since the last call: {fps, networkMs, browserMs, frames}, null where the browser does not tell. */
  async measure() {
    const pc = this.#session?.pc;
    if (!pc || this.phase !== 'connected') return null;
    const report = [...(await pc.getStats()).values()];
    if (pc !== this.#session?.pc) return null;
    const now = report.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video') ?? {};
    const before = this.#before ?? {};
    this.#before = now;
    const since = (key) => (now[key] ?? NaN) - (before[key] ?? 0);
    const pair = report.find((stat) => stat.type === 'candidate-pair' && stat.nominated && stat.state === 'succeeded');
    // Processing runs from a frame's first packet to its decoded picture: jitter buffer and decoder together.
    const delayMs = 'totalProcessingDelay' in now
      ? (since('totalProcessingDelay') / since('framesDecoded')) * 1000
      : (since('jitterBufferDelay') / since('jitterBufferEmittedCount')) * 1000;
    const fps = before.timestamp ? (since('framesDecoded') / since('timestamp')) * 1000 : now.framesPerSecond;
    return {
      fps: Number.isFinite(fps) ? fps : null,
      networkMs: pair?.currentRoundTripTime === undefined ? null : (pair.currentRoundTripTime / 2) * 1000,
      browserMs: Number.isFinite(delayMs) ? delayMs : null,
      frames: now.framesDecoded ?? 0,
    };
  }

  #connect() {
    this.#leave();
    this.#enter('connecting');
    this.#session = new Session(this.#url, {
      headers: this.headers,
      onStream: this.onStream,
      onOpen: () => {
        this.#connectedAt ||= performance.now();
        this.#enter('connected');
      },
      onLost: (error) => this.#wait(error),
    });
  }

  #leave() {
    clearTimeout(this.#timer);
    if (this.#connectedAt && performance.now() - this.#connectedAt > HEALTHY_MS) this.#failures = 0;
    this.#connectedAt = 0;
    this.#before = null;
    this.#session?.close();
    this.#session = null;
  }

  #wait(error) {
    this.#leave();
    if (HOPELESS.has(error.status)) return this.#enter('failed', error);
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** this.#failures++);
    const delayMs = error.retryAfterMs === null
      ? ceiling * (0.5 + Math.random() / 2)
      : error.retryAfterMs + Math.random() * 1000; // spread the viewers
    this.#timer = setTimeout(() => this.#connect(), delayMs);
    this.#enter('waiting', error);
  }

  #enter(phase, error = null) {
    this.phase = phase;
    this.onState({ phase, error });
  }
}
