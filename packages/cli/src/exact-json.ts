/** A number for JSON, which has numbers of any length; JavaScript has not. */
export function exact(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
