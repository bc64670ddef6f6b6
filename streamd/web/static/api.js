// What streamd does over HTTP: addresses, commands, and the news of all streams.

/** @import { Answer, Model, Session, StateChange, Stream, ZoneChange } from './types.js' */

import { now } from './dom.js';

const TICK_MS = 1000;
const TIMEOUT_MS = 5000;
const SILENCE_MS = 3500; // statistics come each second: this long without is an end
const CLOCK_MS = 10_000;
const EVENTS_AGAIN_MS = 10_000;
const EVENTS_RARELY_MS = 120_000; // it never worked: an older streamd, or something between that buffers

const ROOT = new URL('../', import.meta.url); // the page may be served below another path

/**
 * The address of something of this streamd.
 * @param {string} path
 * @param {Record<string, string>} [query]
 */
export function at(path, query = {}) {
  const url = new URL(path, ROOT);
  url.search = new URLSearchParams(query).toString();
  return url.href;
}

/**
 * @param {string} name
 * @param {string} what
 * @param {Record<string, string>} [query]
 */
export const ofStream = (name, what, query) => at(`api/v1/streams/${encodeURIComponent(name)}${what}`, query);

/**
 * @param {string} name
 * @param {string} view
 */
export const whepUrl = (name, view) => at(`whep/${encodeURIComponent(name)}`, { view });

/** Why a request did not do what it should. `status` is 0 without an answer; `code` is the server's, or ours. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, retryAfterMs?: number | null}} [more]
   */
  constructor(message, { status = 0, code = 'network', retryAfterMs = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * What was thrown, as an ApiError: of the browser's own errors the message is all that there is.
 * @param {unknown} thrown
 */
export function asApiError(thrown) {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError(thrown instanceof Error ? thrown.message : String(thrown), { code: 'browser' });
}

/**
 * The JSON of an answer, of which nothing is known yet.
 * @param {Response} response
 * @returns {Promise<unknown>}
 */
export const readJson = (response) => response.json();

/**
 * @param {string} text
 * @returns {unknown}
 */
const parse = (text) => JSON.parse(text);

/**
 * The ApiError for a refusal: {"error": {code, message}} and Retry-After.
 * @param {Response} response
 */
export async function errorFrom(response) {
  const body = /** @type {{error?: {code?: string, message?: string}} | null} */ (await readJson(response).catch(() => null));
  const error = body?.error;
  return new ApiError(error?.message ?? `The server answered ${response.status}.`, {
    status: response.status,
    code: error?.code ?? 'http',
    retryAfterMs: waitMs(response.headers.get('Retry-After')),
  });
}

/**
 * Seconds, or a date (RFC 9110, 10.2.3); a minute at most.
 * @param {string | null} retryAfter
 */
export function waitMs(retryAfter) {
  if (retryAfter === null) return null;
  const seconds = Number(retryAfter);
  const ms = Number.isNaN(seconds) ? Date.parse(retryAfter) - Date.now() : seconds * 1000;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 60_000) : null;
}

/**
 * The answer, when it is a good one. Raises ApiError.
 * @param {string} url
 * @param {RequestInit} [options]
 */
export async function ask(url, options = {}) {
  /** @type {RequestInit} */
  const asked = { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS), ...options };
  const response = await fetch(url, asked).catch(() => {
    throw new ApiError('streamd does not answer.');
  });
  if (!response.ok) throw await errorFrom(response);
  return response;
}

// --- logging in and out: scripts cannot read the cookie, but streamd reports what it allows

export const session = async () => /** @type {Session} */ (await readJson(await ask(at('api/v1/session'))));

/**
 * Raises ApiError: 401 for a token that is none, 429 after too many of them.
 * @param {string} token
 */
export async function logIn(token) {
  const headers = { 'Content-Type': 'application/json' };
  await ask(at('api/v1/session'), { method: 'POST', headers, body: JSON.stringify({ token }) });
}

export const logOut = () => ask(at('api/v1/session'), { method: 'DELETE' });

/** How far the server's clock is ahead of ours: the sample of the shortest round trip is the truest. */
export class Clock {
  /** @type {{roundTripMs: number, aheadMs: number}[]} */
  #samples = [];

  /**
   * @param {number} sentMs
   * @param {number} receivedMs
   * @param {number} serverMs
   */
  add(sentMs, receivedMs, serverMs) {
    const sample = { roundTripMs: receivedMs - sentMs, aheadMs: serverMs - (sentMs + receivedMs) / 2 };
    this.#samples = [...this.#samples.slice(-11), sample];
  }

  get settled() {
    return this.#samples.length >= 8 || (this.best?.roundTripMs ?? Infinity) < 5;
  }

  /** Null before the first. */
  get best() {
    const [first, ...others] = this.#samples;
    return first ? others.reduce((a, b) => (a.roundTripMs <= b.roundTripMs ? a : b), first) : null;
  }
}

/**
 * [sent, received] of a request as the network saw it, without the waiting for this thread; null when it is not known.
 * @param {string} url
 * @param {number} since
 * @returns {[number, number] | null}
 */
function requestTimes(url, since) {
  const entry = performance.getEntriesByName(url).at(-1);
  performance.clearResourceTimings(); // the list is full at 250
  if (!(entry instanceof PerformanceResourceTiming) || !entry.requestStart) return null;
  const { timeOrigin } = performance;
  return timeOrigin + entry.startTime < since - 1 ? null : [timeOrigin + entry.requestStart, timeOrigin + entry.responseStart];
}

/** The state of all streams, kept up to date: by server-sent events, or by asking each second. */
export class News {
  /** @type {Answer | null} */
  answer = null; // the newest of /api/v1/streams
  failures = 0; // questions without an answer, in a row
  locked = false; // a token is needed
  /** @type {Session | null} */
  session = null;
  clock = new Clock();
  /** @type {EventSource | null} */
  #events = null;
  #newestAt = 0;
  #askedAt = 0;
  #eventsAt = 0; // not before
  #eventsWorked = false;
  /** @type {number | undefined} */
  #timer;
  #frugal = false;

  /** @param {() => void} onNews called after each change, and after each second */
  constructor(onNews) {
    this.onNews = onNews;
  }

  get gone() {
    return this.failures >= (this.answer ? 2 : 1);
  }

  /**
   * @param {string | null} name
   * @returns {Stream | null}
   */
  stream(name) {
    return this.answer?.streams.find((stream) => stream.name === name) ?? null;
  }

  start() {
    clearTimeout(this.#timer);
    void this.#tick();
    session().then((now) => { this.session = now; }, () => { this.session = null; });
  }

  stop() {
    clearTimeout(this.#timer);
    this.#hangUp();
  }

  /**
   * Motion JPEG holds connections, of which a browser has six per server: then do without one for events.
   * @param {boolean} value
   */
  set frugal(value) {
    this.#frugal = value;
    if (value) this.#hangUp();
  }

  async ask() {
    this.#askedAt = performance.now();
    try {
      const url = at('api/v1/streams');
      const sent = now();
      const response = await ask(url);
      const received = now();
      const answer = /** @type {Answer} */ (await readJson(response));
      if (!Array.isArray(answer.streams)) throw new Error('no streams');
      if (answer.time) this.clock.add(...(requestTimes(url, sent) ?? [sent, received]), answer.time * 1000);
      this.#take(answer);
    } catch (error) {
      this.#newestAt = 0;
      this.locked = error instanceof ApiError && error.status === 401;
      this.failures = this.locked ? 0 : this.failures + 1;
    }
  }

  async #tick() {
    const began = performance.now();
    if (this.#events && this.#newestAt && began - this.#newestAt > SILENCE_MS) this.#hangUp(EVENTS_AGAIN_MS);
    const fresh = this.#newestAt && began - this.#newestAt < SILENCE_MS;
    if (!fresh || !this.clock.settled || began - this.#askedAt > CLOCK_MS) await this.ask();
    if (!this.#events && !this.failures && !this.locked && !this.#frugal) this.#listen();
    clearTimeout(this.#timer);
    const restMs = Math.max(TICK_MS - (performance.now() - began), 250);
    if (!document.hidden) this.#timer = setTimeout(() => void this.#tick(), restMs);
    this.onNews();
  }

  #listen() {
    if (performance.now() < this.#eventsAt) return;
    const events = (this.#events = new EventSource(at('api/v1/events')));
    events.addEventListener('statistics', (/** @type {MessageEvent<string>} */ { data }) => {
      this.#newestAt = performance.now();
      this.#eventsWorked = true;
      this.#take(/** @type {Answer} */ (parse(data)));
    });
    events.addEventListener('state', (/** @type {MessageEvent<string>} */ { data }) => {
      const { name, state, reason } = /** @type {StateChange} */ (parse(data));
      const stream = this.stream(name);
      if (stream) Object.assign(stream, { state, reason });
      this.onNews();
    });
    events.addEventListener('zone', (/** @type {MessageEvent<string>} */ { data }) => {
      const { stream, zone, kind, ...measured } = /** @type {ZoneChange} */ (parse(data));
      const found = this.stream(stream)?.zones?.find(({ name }) => name === zone);
      if (found) Object.assign(found, measured, { state: kind });
      this.onNews();
    });
    events.addEventListener('model', (/** @type {MessageEvent<string>} */ { data }) => {
      if (this.answer) this.answer.model = /** @type {Model} */ (parse(data));
      this.onNews();
    });
    events.onerror = () => { this.#hangUp(this.#eventsWorked ? EVENTS_AGAIN_MS : EVENTS_RARELY_MS); };
  }

  #hangUp(againMs = 0) {
    this.#events?.close();
    this.#events = null;
    this.#newestAt = 0;
    this.#eventsAt = performance.now() + againMs;
  }

  /** @param {Answer} answer */
  #take(answer) {
    this.answer = answer;
    this.failures = 0;
    this.locked = false;
  }
}
