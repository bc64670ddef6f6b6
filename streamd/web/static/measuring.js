// What the browser knows of the video that it gets: rates and delays from getStats, and, where the server sends the
// time of capture with the pictures, the true time from capture to screen.

import { isNumber, now } from './dom.js';

const NTP_TO_UNIX_MS = 2_208_988_800_000; // 1900 to 1970
const RTP_PER_MS = 90;

/** Of one session: what changed from one getStats to the next. */
export class Measuring {
  #before = {};

  /** {fps, kbps, networkMs, browserMs, frames}, null where the browser does not tell. */
  take(stats) {
    const report = [...stats.values()];
    const seen = report.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video') ?? {};
    const before = this.#before;
    this.#before = seen;
    const since = (key) => (seen[key] ?? NaN) - (before[key] ?? 0);
    const pair = report.find((stat) => stat.type === 'candidate-pair' && stat.nominated && stat.state === 'succeeded');
    // Processing runs from a frame's first packet to its decoded picture: jitter buffer and decoder together.
    const browserMs = 'totalProcessingDelay' in seen
      ? (since('totalProcessingDelay') / since('framesDecoded')) * 1000
      : (since('jitterBufferDelay') / since('jitterBufferEmittedCount')) * 1000;
    const elapsedMs = before.timestamp ? since('timestamp') : NaN;
    const roundTripS = pair?.currentRoundTripTime;
    return {
      fps: known((since('framesDecoded') / elapsedMs) * 1000) ?? known(seen.framesPerSecond),
      kbps: known((since('bytesReceived') * 8) / elapsedMs),
      networkMs: known((roundTripS / 2) * 1000),
      browserMs: known(browserMs),
      frames: seen.framesDecoded ?? 0,
    };
  }
}

const known = (value) => (isNumber(value) ? value : null);

/** From capture to screen, frame by frame; `clock` knows the server's time. */
export class CaptureToScreen {
  #latencies = [];
  #receiver = null;
  #watching = 0;

  constructor(video, clock) {
    Object.assign(this, { video, clock });
  }

  /** Follow another session's receiver; null to stop. */
  follow(receiver) {
    this.#receiver = receiver;
    this.#latencies = [];
    const watching = ++this.#watching;
    const look = (_, frame) => {
      if (watching !== this.#watching) return;
      this.#look(frame);
      this.video.requestVideoFrameCallback(look);
    };
    if (receiver?.getSynchronizationSources) this.video.requestVideoFrameCallback?.(look);
  }

  /** The median since the last call, ms; null when the pictures do not say when they were captured. */
  take() {
    const latencies = this.#latencies.sort((a, b) => a - b);
    this.#latencies = [];
    return latencies[latencies.length >> 1] ?? null;
  }

  #look({ expectedDisplayTime, rtpTimestamp }) {
    const [source] = this.#receiver.getSynchronizationSources();
    const clock = this.clock.best;
    if (!source?.captureTimestamp || !clock || rtpTimestamp === undefined) return;
    const since = (rtpTimestamp - source.rtpTimestamp) | 0; // the source may already be at a later frame; it wraps
    const captured = source.captureTimestamp - NTP_TO_UNIX_MS + since / RTP_PER_MS;
    const shown = Math.max(performance.timeOrigin + expectedDisplayTime, now());
    const latency = shown + clock.aheadMs - captured;
    if (latency > 0 && latency < 60_000) this.#latencies.push(latency);
  }
}
