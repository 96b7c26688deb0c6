/** A number whose text must not change: JavaScript would write it in another way, or round it. */
export class RawNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Source = { readonly source?: string };
const parseWithSource = JSON.parse as (
  text: string,
  reviver: (this: unknown, key: string, value: unknown, context: Source) => unknown,
) => unknown;

/** JSON with numbers that JavaScript cannot write as they were kept as `RawNumber`. @throws SyntaxError */
export function parseJson(text: string): unknown {
  return parseWithSource(text, (_key, value, context) => {
    if (typeof value !== 'number' || context?.source === undefined || String(value) === context.source) return value;
    return new RawNumber(context.source);
  });
}

/**
 * JSON exactly as Python's json.dumps(value, sort_keys=True, indent=2) writes it, and a newline: what nvmetcli saves.
 * Arrays and objects are broken into lines, keys are sorted by code points, what is not ASCII is escaped.
 */
export function pythonJson(value: unknown): string {
  return `${write(value, '\n')}\n`;
}

function write(value: unknown, newline: string): string {
  if (value instanceof RawNumber) return value.text;
  if (typeof value === 'string') return quote(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${newline}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return `[${inner}${value.map((entry) => write(entry, inner)).join(`,${inner}`)}${newline}]`;
  }
  const keys = Object.keys(value).sort(byCodePoints);
  if (keys.length === 0) return '{}';
  const object = value as Record<string, unknown>;
  return `{${inner}${keys.map((key) => `${quote(key)}: ${write(object[key], inner)}`).join(`,${inner}`)}${newline}}`;
}

function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function byCodePoints(a: string, b: string): number {
  const left = [...a];
  const right = [...b];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
