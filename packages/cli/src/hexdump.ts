const WIDTH = 16;

/** Lines of `offset: bytes "text"`; equal lines in a row are folded into one `*`. */
export function* hexdump(bytes: Uint8Array, offset: number): Generator<string> {
  let last = '';
  let folded = false;
  for (let at = 0; at < bytes.length; at += WIDTH) {
    const part = bytes.subarray(at, at + WIDTH);
    const hex = Array.from(part, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    if (hex === last && at + WIDTH < bytes.length) {
      if (!folded) yield '*';
      folded = true;
      continue;
    }
    last = hex;
    folded = false;
    const text = Array.from(part, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    yield `${(offset + at).toString(16).padStart(8, '0')}: ${hex.padEnd(WIDTH * 3 - 1)} "${text}"`;
  }
}
