// What the browser knows of the video that it gets: rates and delays from getStats, and, where the server sends the
// time of capture with the pictures, the true time from capture to screen.

/** @import { Clock } from './api.js' */
/** @import { Measured } from './types.js' */

import { isNumber, now } from './dom.js';

const NTP_TO_UNIX_MS = 2_208_988_800_000; // 1900 to 1970
const RTP_PER_MS = 90;

/** Numbers of a getStats report. @typedef {Record<string, number | undefined>} Counts */

/** Of one session: what changed from one getStats to the next. */
export class Measuring {
  /** @type {Counts} */
  #before = {};

  /**
   * @param {RTCStatsReport} stats
   * @returns {Measured & {frames: number}}
   */
  take(stats) {
    const { video: seen, pair } = selectReports(stats);
    const before = this.#before;
    this.#before = seen;
    /** @param {string} key */
    const since = (key) => (seen[key] ?? NaN) - (before[key] ?? 0);
    // Processing runs from a frame's first packet to its decoded picture: jitter buffer and decoder together.
    const browserMs = 'totalProcessingDelay' in seen
      ? (since('totalProcessingDelay') / since('framesDecoded')) * 1000
      : (since('jitterBufferDelay') / since('jitterBufferEmittedCount')) * 1000;
    const elapsedMs = before.timestamp ? since('timestamp') : NaN;
    const roundTripS = pair.currentRoundTripTime ?? NaN;
    return {
      fps: known((since('framesDecoded') / elapsedMs) * 1000) ?? known(seen.framesPerSecond),
      kbps: known((since('bytesReceived') * 8) / elapsedMs),
      networkMs: known((roundTripS / 2) * 1000),
      browserMs: known(browserMs),
      frames: seen.framesDecoded ?? 0,
    };
  }
}

/**
 * The video that comes, and the way that it takes.
 * @param {RTCStatsReport} stats
 */
function selectReports(stats) {
  let [video, pair] = [/** @type {Counts} */ ({}), /** @type {Counts} */ ({})];
  for (const stat of /** @type {Map<string, Counts & {type: string, kind?: string, nominated?: boolean, state?: string}>} */ (stats).values()) {
    if (stat.type === 'inbound-rtp' && stat.kind === 'video') video = stat;
    if (stat.type === 'candidate-pair' && stat.nominated && stat.state === 'succeeded') pair = stat;
  }
  return { video, pair };
}

/** @param {number | undefined} value */
const known = (value) => (isNumber(value) ? value : null);

/** Chromium's, a draft. @typedef {RTCRtpSynchronizationSource & {captureTimestamp?: number}} Source */

/** From capture to screen, frame by frame; `clock` knows the server's time. */
export class CaptureToScreen {
  /** @type {number[]} */
  #latencies = [];
  /** @type {RTCRtpReceiver | null} */
  #receiver = null;
  #watching = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {Clock} clock
   */
  constructor(video, clock) {
    this.video = video;
    this.clock = clock;
  }

  /**
   * Follow another session's receiver; null to stop.
   * @param {RTCRtpReceiver | null} receiver
   */
  follow(receiver) {
    this.#receiver = receiver;
    this.#latencies = [];
    const watching = ++this.#watching;
    /** @type {VideoFrameRequestCallback} */
    const onFrame = (_, frame) => {
      if (watching !== this.#watching) return;
      this.#measure(frame);
      this.video.requestVideoFrameCallback(onFrame);
    };
    if (receiver && 'getSynchronizationSources' in receiver && 'requestVideoFrameCallback' in this.video) this.video.requestVideoFrameCallback(onFrame);
  }

  /** The median since the last call, ms; null when the pictures have no capture time. */
  take() {
    const latencies = this.#latencies.sort((a, b) => a - b);
    this.#latencies = [];
    return latencies[latencies.length >> 1] ?? null;
  }

  /** @param {VideoFrameCallbackMetadata} frame */
  #measure({ expectedDisplayTime, rtpTimestamp }) {
    /** @type {Source | undefined} */
    const source = this.#receiver?.getSynchronizationSources()[0];
    const clock = this.clock.best;
    if (!source?.captureTimestamp || !clock || rtpTimestamp === undefined) return;
    const since = (rtpTimestamp - source.rtpTimestamp) | 0; // the source may already be at a later frame; it wraps
    const captured = source.captureTimestamp - NTP_TO_UNIX_MS + since / RTP_PER_MS;
    const shown = Math.max(performance.timeOrigin + expectedDisplayTime, now());
    const latency = shown + clock.aheadMs - captured;
    if (latency > 0 && latency < 60_000) this.#latencies.push(latency);
  }
}
