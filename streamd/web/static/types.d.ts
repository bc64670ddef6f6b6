// What the modules of the page share: the JSON of the API (described in full by /api/v1/openapi.json), and what they hand on.
// Read by editors and by `make check` alone; no browser asks for it.

import type { VIEWS } from './address.js';
import type { ApiError, News } from './api.js';
import type { PALETTES } from './palettes.js';
import type { Player } from './player.js';

export type View = keyof typeof VIEWS;
export type Palette = keyof typeof PALETTES;

// --- of the API

export type State = 'starting' | 'running' | 'reconnecting' | 'idle' | 'ended' | 'failed' | 'stopping';

export interface Stream {
  name: string;
  state: State;
  reason?: string | null;
  mode?: string;
  source?: string;
  views?: View[];
  width?: number | null;
  height?: number | null;
  fps_in?: number | null;
  fps_out?: number | null;
  /** Of the newest frames, those that the network saw: the others had not changed. */
  inferred_share?: number | null;
  latency_ms?: { p50: number | null; p95: number | null };
  skipped?: Record<string, number>;
  viewers?: number;
  recording?: boolean;
  /** What is wanted. */
  recording_views?: View[];
  /** What is being written. */
  recording_active?: View[];
  recording_error?: string | null;
  overlay_alpha?: number;
  flicker?: number | null;
  calibration?: { calibrated: boolean; in_use: boolean; reason: string | null };
  settings?: StreamSettings;
  /** While these are not in force yet. */
  wanted?: StreamSettings;
  zones?: Zone[];
}

/** Some of its keys. */
export interface StreamSettings {
  source?: string;
  transport?: string;
  mode?: string;
  horizontal_fov_degrees?: number;
  compress?: 'linear' | 'log';
  masks?: [number, number][][];
  zones?: (ZoneSettings & { polygon: [number, number][] })[];
}

export interface ZoneSettings {
  name?: string;
  /** A share of the range, or metres. */
  near?: number | null;
  metres?: number | null;
  min_area?: number;
  hold_s?: number;
}

/** Of the page: a mask or a zone, in shares of width and height. */
export interface Area {
  kind: 'mask' | 'zone';
  points: [number, number][];
  zone?: ZoneSettings;
}

/** A distance; null: not known, or too far away to say. */
export interface Fitted {
  metres: number | null;
  uncertainty_metres: number | null;
  interval_metres: [number | null, number | null] | null;
}

export interface Value extends Fitted {
  inverse_depth: number;
  share: number;
}

export interface Calibration {
  calibrated: boolean;
  in_use: boolean;
  reason: string | null;
  points: { x: number; y: number; metres: number; fitted: Fitted }[];
}

export interface Devices {
  devices: { path: string; stable_id: string | null; name: string; problem: string | null }[];
}

/** Of a stream: where something may come near. */
export interface Zone {
  name: string;
  state: 'near' | 'clear';
  area: number | null;
  nearest_share: number | null;
  nearest_metres: number | null;
  problem: string | null;
  /** In shares of the picture; null when they are not known. */
  polygon: [number, number][] | null;
}

/** Of the event "zone". */
export interface ZoneChange extends Pick<Zone, 'area' | 'nearest_share' | 'nearest_metres'> {
  stream: string;
  zone: string;
  kind: 'near' | 'clear';
}

export interface Model {
  name: string;
  title?: string;
  state?: string;
  runtime?: string | null;
  precision?: string | null;
  coarse?: boolean;
  input_size?: number;
  /** Above `input_size` while that is lowered for the sake of min_fps. */
  full_input_size?: number | null;
  message?: string | null;
}

/** Of /api/v1/models. */
export interface KnownModel {
  name: string;
  title: string;
  licence: string;
  coarse: boolean;
  installed: boolean;
  built_in: boolean;
  official: boolean | null;
  size_bytes: number | null;
  download_bytes?: number | null;
  /** Of its licence, for who fetches it. */
  notice?: string | null;
  note: string;
  running: boolean;
  wanted: boolean;
  can_fetch: boolean;
  fetch: { active: boolean; done_bytes: number; total_bytes: number | null; error: string | null } | null;
  measured: { chosen: string; ms: Record<string, number> } | null;
}

export interface Models {
  models: KnownModel[];
  model: Model;
}

/** Of /api/v1/streams; the event "statistics" is the same. */
export interface Answer {
  streams: Stream[];
  model?: Model;
  version?: string;
  time?: number;
}

/** Of the event "state". */
export interface StateChange {
  name: string;
  state: State;
  reason: string | null;
}

export interface Session {
  access: null | 'view' | 'control';
  by: 'cookie' | 'token' | 'nobody';
}

export interface Recording {
  path: string;
  stream?: string | null;
  view?: string | null;
  started?: string | null;
  size_bytes?: number;
  complete?: boolean;
  cut_short?: boolean;
  duration_s?: number;
}

/** Of /api/v1/recordings/timeline. */
export interface RecordedDay {
  from: string;
  to: string;
  tracks: RecordedTrack[];
  before: string | null;
  after: string | null;
  complete: boolean;
}

export interface RecordedTrack {
  stream: string;
  view: string;
  spans: { from: string; to: string }[];
}

// --- of the page

/** From and to, ms since 1970. */
export type TimeSpan = [number, number];

/** A recorded file that is played. */
export interface Piece {
  url: string;
  startMs: number;
  endMs: number;
}

/** What the address names. */
export interface Shown {
  layout: 'one' | 'grid' | null;
  stream: string | null;
  views: Map<string, View>;
}

export interface PageState extends Shown {
  palette: Palette;
  /** Whether they are drawn. */
  zones: boolean;
}

/** What app.js lends to the parts of the page. */
export interface Page {
  state: PageState;
  news: News;
  render: () => void;
  renderSoon: () => void;
  setView: (name: string, view: View) => void;
  toggleFullScreen: () => void;
}

/** What a player is to show. */
export interface Wanted {
  name: string;
  view: View;
  palette: Palette;
  /** One among many. */
  small: boolean;
  /** A picture now and then. */
  still: boolean;
  /** There is none to ask for, but what a session shows. */
  silent?: boolean;
}

/** What a player measured since the last time; null where the browser does not report it. */
export interface Measured {
  fps: number | null;
  kbps: number | null;
  networkMs?: number | null;
  browserMs?: number | null;
  captureMs?: number | null;
  frames?: number;
}

export type Phase = 'connecting' | 'connected' | 'waiting' | 'failed' | 'stopped';

export interface PhaseChange {
  phase: Phase;
  error: ApiError | null;
}

/** What is written over a picture. */
export interface Notice {
  title: string;
  text?: string | null | undefined;
  code?: string;
  button?: string;
  act?: () => unknown;
  /** Something is under way. */
  busy?: boolean;
  /** The picture behind is not dimmed. */
  quiet?: boolean;
  /** With the sign that a click plays. */
  play?: boolean;
  /** With the form that asks for a token. */
  form?: boolean;
}

/** What the notice of a tile depends on. */
export interface TileState {
  name: string;
  stream: Stream | null;
  player: Player;
  large: boolean;
  live: boolean;
  gone: boolean;
}
