import type { Field, LayoutMethods } from '@nvbraid/wire';

/* Identify structures as nvme-cli prints them: `name      : value`, numbers decimal or 0x as the field is. */

const NAME_WIDTH = 10;

export interface FieldLine {
  readonly name: string;
  readonly text: string;
  /** What a value means, where the structure knows names for it. */
  readonly meaning: string;
}

/** The scalar fields of a structure, in order. Arrays and structures inside are left to the caller. */
export function fieldLines(
  layout: LayoutMethods<unknown>,
  page: Uint8Array,
  skip: readonly string[] = [],
): FieldLine[] {
  const view = viewOf(page);
  const lines: FieldLine[] = [];
  for (const [name, field] of layout.fields) {
    if (skip.includes(name) || field.item !== undefined || isLargest(name)) continue;
    if (isSmallest(name)) {
      lines.push({ name: pairName(name), text: `0x${page[field.offset]!.toString(16)}`, meaning: '' });
      continue;
    }
    const value = field.get(view, 0);
    const text = fieldText(field, value);
    const formatted = typeof value === 'number' ? field.format(value) : '';
    lines.push({ name, text, meaning: /^(0x[0-9a-f]+|[0-9]*)$/.test(formatted) ? '' : formatted });
  }
  return lines;
}

export function line(name: string, text: string): string {
  return `${name.padEnd(NAME_WIDTH)}: ${text}`;
}

/** The same as an object for JSON: numbers, strings, and bytes as hex. */
export function fieldValues(
  layout: LayoutMethods<unknown>,
  page: Uint8Array,
  skip: readonly string[] = [],
): Record<string, unknown> {
  const view = viewOf(page);
  const values: Record<string, unknown> = {};
  for (const [name, field] of layout.fields) {
    if (skip.includes(name) || field.item !== undefined || isLargest(name)) continue;
    if (isSmallest(name)) {
      values[pairName(name)] = page[field.offset];
      continue;
    }
    const value: unknown = field.get(view, 0);
    values[name] = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
  }
  return values;
}

/** sqes and cqes are one byte, of which the layout names the halves: sqesMin and sqesMax. */
const isSmallest = (name: string): boolean => /^[sc]qesMin$/.test(name);
const isLargest = (name: string): boolean => /^[sc]qesMax$/.test(name);
const pairName = (name: string): string => name.slice(0, -'Min'.length);

export function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}

// biome-ignore lint/suspicious/noExplicitAny: a field of any type
function fieldText(field: Field<any>, value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'bigint') return field.format(value);
  if (typeof value === 'number') {
    // A field that is shown in hex says so by how it formats a number that has no name.
    const hex = field.format(value).startsWith('0x') || field.format(2 ** field.width - 1).startsWith('0x');
    return hex ? `0x${value.toString(16)}` : String(value);
  }
  return String(value);
}
