// The STUN and TURN servers that streamd names in the Link header of its WHEP endpoint: they must be known before the
// offer is made, so they are asked for once, by HEAD: OPTIONS needs no token, so streamd gives no passwords there.

const TIMEOUT_MS = 2000;
const GOOD_FOR_MS = 10 * 60_000; // credentials are made for a while only
const LINK = /<([^>]+)>([^<]*)/g;
const PAIR = /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g;

/** @type {{at: number, servers: Promise<RTCIceServer[]>}} */
let known = { at: -Infinity, servers: Promise.resolve([]) };

/**
 * What RTCPeerConnection takes as iceServers; none when streamd names none.
 * @param {string} endpoint
 */
export function fetchIceServers(endpoint) {
  if (performance.now() - known.at > GOOD_FOR_MS) known = { at: performance.now(), servers: ask(endpoint) };
  return known.servers;
}

/**
 * @param {string} endpoint
 * @returns {Promise<RTCIceServer[]>}
 */
async function ask(endpoint) {
  try {
    const response = await fetch(endpoint, { method: 'HEAD', signal: AbortSignal.timeout(TIMEOUT_MS) });
    return parseLinks(response.headers.get('Link') ?? '');
  } catch {
    known.at = -Infinity;
    return [];
  }
}

/**
 * `<turn:...>; rel="ice-server"; username="u"; credential="c", <stun:...>; rel="ice-server"`.
 * @param {string} header
 * @returns {RTCIceServer[]}
 */
export function parseLinks(header) {
  return [...header.matchAll(LINK)].flatMap(([, urls = '', rest = '']) => {
    const parameters = parametersIn(rest);
    if (parameters.get('rel') !== 'ice-server') return [];
    const username = parameters.get('username');
    return [username ? { urls, username, credential: parameters.get('credential') ?? '' } : { urls }];
  });
}

/** @param {string} text */
const parametersIn = (text) => new Map(
  [...text.matchAll(PAIR)].map(([, key = '', quoted, bare = '']) => [key, quoted?.replace(/\\(.)/g, '$1') ?? bare]),
);
