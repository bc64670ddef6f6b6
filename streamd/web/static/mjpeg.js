// Motion JPEG, read by hand: an <img> does not report when its pictures end, or why there are none.

const SILENCE_MS = 10_000; // the server repeats the picture each 3 s

/**
 * @param {Uint8Array<ArrayBuffer>} a
 * @param {Uint8Array} b
 */
const concat = (a, b) => {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
};

/**
 * Where the empty line after the headers of a part begins; -1 when it is not there yet.
 * @param {Uint8Array} bytes
 */
function endOfHead(bytes) {
  for (let at = bytes.indexOf(13); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at;
  }
  return -1;
}

/**
 * The pictures of a multipart/x-mixed-replace body, as blobs, each when it is complete; ends with the body.
 * Raises TypeError for a body that is something else.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* jpegs(body) {
  const reader = body.getReader();
  /** @type {number | undefined} */
  let timer;
  let bytes = new Uint8Array(0);
  const cancel = () => { reader.cancel().catch(() => {}); }; // it may have failed already
  const more = async () => {
    timer = setTimeout(cancel, SILENCE_MS);
    const { done, value } = await reader.read();
    clearTimeout(timer);
    if (!done) bytes = concat(bytes, value);
    return !done;
  };
  try {
    for (;;) {
      let head;
      while ((head = endOfHead(bytes)) < 0) if (!(await more())) return;
      const headers = new TextDecoder().decode(bytes.subarray(0, head));
      const length = Number(/^content-length:\s*(\d+)/im.exec(headers)?.[1]);
      const end = head + 4 + length;
      if (!length) throw new TypeError('a part without its length');
      while (bytes.length < end) if (!(await more())) return;
      yield new Blob([bytes.subarray(head + 4, end)], { type: 'image/jpeg' });
      bytes = bytes.slice(end);
    }
  } finally {
    clearTimeout(timer);
    cancel();
  }
}
