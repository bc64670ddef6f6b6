// What streamd says and does over HTTP: addresses, commands, and the news of all streams.

import { now } from './dom.js';

const TICK_MS = 1000;
const TIMEOUT_MS = 5000;
const SILENCE_MS = 3500; // statistics come each second: this long without is an end
const CLOCK_MS = 10_000;
const EVENTS_AGAIN_MS = 10_000;
const EVENTS_RARELY_MS = 120_000; // it never worked: an older streamd, or something between that buffers

const ROOT = new URL('../', import.meta.url); // the page may be served below another path

/** The address of something of this streamd. */
export function at(path, query = {}) {
  const url = new URL(path, ROOT);
  url.search = new URLSearchParams(query);
  return url.href;
}

export const ofStream = (name, what, query) => at(`api/v1/streams/${encodeURIComponent(name)}${what}`, query);
export const whepOf = (name, view) => at(`whep/${encodeURIComponent(name)}`, { view });

/** Why a request did not do what it should. `status` is 0 without an answer; `code` is the server's, or ours. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = 'network', retryAfterMs = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfterMs });
  }
}

/** The ApiError for an answer that says no: {"error": {code, message}} and Retry-After. */
export async function errorFrom(response) {
  const { error } = await response.json().catch(() => ({}));
  const retryAfter = response.headers.get('Retry-After');
  const seconds = retryAfter === null ? NaN : Number(retryAfter);
  const ms = Number.isNaN(seconds) ? Date.parse(retryAfter) - Date.now() : seconds * 1000; // or a date
  return new ApiError(error?.message ?? `The server answered ${response.status}.`, {
    status: response.status,
    code: error?.code ?? 'http',
    retryAfterMs: Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 60_000) : null,
  });
}

/** The answer, when it is a good one. Raises ApiError. */
export async function ask(url, options = {}) {
  const asked = { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS), ...options };
  const response = await fetch(url, asked).catch(() => {
    throw new ApiError('streamd does not answer.');
  });
  if (!response.ok) throw await errorFrom(response);
  return response;
}

// --- logging in and out: the cookie is not for scripts, but streamd tells what it allows

/** {access: null | "view" | "control", by: "cookie" | "nobody"}. */
export const session = async () => (await ask(at('api/v1/session'))).json();

/** Raises ApiError: 401 for a token that is none, 429 after too many of them. */
export async function logIn(token) {
  const headers = { 'Content-Type': 'application/json' };
  await ask(at('api/v1/session'), { method: 'POST', headers, body: JSON.stringify({ token }) });
}

export const logOut = () => ask(at('api/v1/session'), { method: 'DELETE' });

/** How far the server's clock is ahead of ours: the sample of the shortest round trip is the truest. */
export class Clock {
  #samples = [];

  add(sentMs, receivedMs, serverMs) {
    const sample = { roundTripMs: receivedMs - sentMs, aheadMs: serverMs - (sentMs + receivedMs) / 2 };
    this.#samples = [...this.#samples.slice(-11), sample];
  }

  get settled() {
    return this.#samples.length >= 8 || this.best?.roundTripMs < 5;
  }

  /** {roundTripMs, aheadMs}, or null. */
  get best() {
    return this.#samples.reduce((a, b) => (a && a.roundTripMs <= b.roundTripMs ? a : b), null);
  }
}

/** [sent, received] of a request as the network saw it, without the waiting for this thread; null when not told. */
function timesOf(url, since) {
  const entry = performance.getEntriesByName(url).at(-1);
  performance.clearResourceTimings(); // the list is full at 250
  if (!entry?.requestStart || performance.timeOrigin + entry.startTime < since - 1) return null;
  return [entry.requestStart, entry.responseStart].map((ms) => performance.timeOrigin + ms);
}

/** The state of all streams, kept up to date: by server-sent events, or by asking each second. */
export class News {
  answer = null; // the newest of /api/v1/streams
  failures = 0; // questions without an answer, in a row
  locked = false; // a token is needed
  session = null;
  clock = new Clock();
  #events = null;
  #heardAt = 0;
  #askedAt = 0;
  #eventsAt = 0; // not before
  #eventsWorked = false;
  #timer;
  #frugal = false;

  /** onNews() is called after each change, and after each second. */
  constructor(onNews) {
    this.onNews = onNews;
  }

  get gone() {
    return this.failures >= (this.answer ? 2 : 1);
  }

  stream(name) {
    return this.answer?.streams.find((stream) => stream.name === name) ?? null;
  }

  start() {
    clearTimeout(this.#timer);
    this.#tick();
    session().then((told) => (this.session = told), () => (this.session = null));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#hangUp();
  }

  /** Motion JPEG holds connections, of which a browser has six per server: then do without one for events. */
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
      const answer = await response.json();
      if (!Array.isArray(answer.streams)) throw new Error('no streams');
      if (answer.time) this.clock.add(...(timesOf(url, sent) ?? [sent, received]), answer.time * 1000);
      this.#take(answer);
    } catch (error) {
      this.#heardAt = 0;
      this.locked = error.status === 401;
      this.failures = this.locked ? 0 : this.failures + 1;
    }
  }

  async #tick() {
    const began = performance.now();
    if (this.#events && this.#heardAt && began - this.#heardAt > SILENCE_MS) this.#hangUp(EVENTS_AGAIN_MS);
    const heard = this.#heardAt && began - this.#heardAt < SILENCE_MS;
    if (!heard || !this.clock.settled || began - this.#askedAt > CLOCK_MS) await this.ask();
    if (!this.#events && !this.failures && !this.locked && !this.#frugal) this.#listen();
    clearTimeout(this.#timer);
    const restMs = Math.max(TICK_MS - (performance.now() - began), 250);
    if (!document.hidden) this.#timer = setTimeout(() => this.#tick(), restMs);
    this.onNews();
  }

  #listen() {
    if (performance.now() < this.#eventsAt) return;
    const events = (this.#events = new EventSource(at('api/v1/events')));
    events.addEventListener('statistics', ({ data }) => {
      this.#heardAt = performance.now();
      this.#eventsWorked = true;
      this.#take(JSON.parse(data));
    });
    events.addEventListener('state', ({ data }) => {
      const { name, state, reason } = JSON.parse(data);
      const stream = this.stream(name);
      if (stream) Object.assign(stream, { state, reason });
      this.onNews();
    });
    events.onerror = () => this.#hangUp(this.#eventsWorked ? EVENTS_AGAIN_MS : EVENTS_RARELY_MS);
  }

  #hangUp(againMs = 0) {
    this.#events?.close();
    this.#events = null;
    this.#heardAt = 0;
    this.#eventsAt = performance.now() + againMs;
  }

  #take(answer) {
    this.answer = answer;
    this.failures = 0;
    this.locked = false;
  }
}
