/**
 * What a parser of bytes that a peer sent answers: never an exception. `reason` is a clause for a log, e.g.
 * `group 3 lies outside the log`.
 */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function unparsable(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
