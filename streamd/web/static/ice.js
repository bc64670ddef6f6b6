// The STUN and TURN servers that streamd names in the Link header of its WHEP endpoint: they must be known before the
// offer is made, so they are asked for once, by HEAD: OPTIONS needs no token, so streamd tells no passwords there.

const TIMEOUT_MS = 2000;
const GOOD_FOR_MS = 10 * 60_000; // credentials are made for a while only
const LINK = /<([^>]+)>([^<]*)/g;
const PAIR = /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g;

let known = { at: -Infinity, servers: null };

/** What RTCPeerConnection takes as iceServers; none when streamd does not tell. */
export async function iceServersOf(endpoint) {
  if (performance.now() - known.at > GOOD_FOR_MS) known = { at: performance.now(), servers: ask(endpoint) };
  return known.servers;
}

async function ask(endpoint) {
  try {
    const response = await fetch(endpoint, { method: 'HEAD', signal: AbortSignal.timeout(TIMEOUT_MS) });
    return parseLinks(response.headers.get('Link') ?? '');
  } catch {
    known.at = -Infinity;
    return [];
  }
}

/** `<turn:...>; rel="ice-server"; username="u"; credential="c", <stun:...>; rel="ice-server"`. */
export function parseLinks(header) {
  const links = [...header.matchAll(LINK)].map(([, urls, rest]) => {
    const pairs = [...rest.matchAll(PAIR)].map(([, key, quoted, bare]) => [key, quoted?.replace(/\\(.)/g, '$1') ?? bare]);
    return { urls, ...Object.fromEntries(pairs) };
  });
  return links
    .filter(({ rel }) => rel === 'ice-server')
    .map(({ urls, username, credential }) => (username ? { urls, username, credential: credential ?? '' } : { urls }));
}
