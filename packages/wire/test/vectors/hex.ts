/** Bytes of a hexadecimal string; white space is for the reader, `00*12` repeats a byte. */
export function hex(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const word of text.trim().split(/\s+/)) {
    const [value, count] = word.split('*') as [string, string | undefined];
    if (!/^([0-9a-f]{2})+$/.test(value)) throw new Error(`not hexadecimal: ${word}`);
    for (let n = Number(count ?? 1); n > 0; n--)
      for (let i = 0; i < value.length; i += 2) bytes.push(Number.parseInt(value.slice(i, i + 2), 16));
  }
  return Uint8Array.from(bytes);
}

/** `size` bytes, zero but for the given ones by offset: hexadecimal, or text in quotes. */
export function bytesAt(size: number, parts: Readonly<Record<number, string>>): Uint8Array {
  const all = new Uint8Array(size);
  for (const [offset, text] of Object.entries(parts))
    all.set(text.startsWith('"') ? new TextEncoder().encode(text.slice(1, -1)) : hex(text), Number(offset));
  return all;
}
