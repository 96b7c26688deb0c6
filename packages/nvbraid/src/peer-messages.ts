import type { ControllerInstance, HostIdentity, InstanceFate } from '@nvbraid/target';

/*
 * What processes that share a file say to each other: one line of JSON there, one back, which may take long.
 *
 *   -> {"icid":70,"ciu":7,"cirn":"f122334455667788","hostnqn":"nqn…","hostid":"…"}
 *   <- {"fate":"quiet"}
 *
 * The connection stands until the answer: whoever dies lets the other know by that.
 */

export interface EndRequest {
  readonly instance: ControllerInstance;
  readonly host: HostIdentity;
}

export function endRequestLine({ instance, host }: EndRequest): string {
  const { cntlid, ciu, cirn } = instance;
  return `${JSON.stringify({ icid: cntlid, ciu, cirn: cirn.toString(16), ...host })}\n`;
}

/** Null for a line that is none. */
export function parseEndRequest(line: string): EndRequest | null {
  const { icid, ciu, cirn, hostnqn, hostid } = fieldsOf(line);
  if (!isNumber(icid, 0xffff) || !isNumber(ciu, 0xff)) return null;
  if (typeof cirn !== 'string' || !/^[0-9a-f]{1,16}$/.test(cirn)) return null;
  if (typeof hostnqn !== 'string' || typeof hostid !== 'string') return null;
  return { instance: { cntlid: icid, ciu, cirn: BigInt(`0x${cirn}`) }, host: { hostnqn, hostid } };
}

export function fateLine(fate: InstanceFate): string {
  return `${JSON.stringify({ fate })}\n`;
}

/** Null for a line that is none. */
export function parseFate(line: string): InstanceFate | null {
  const { fate } = fieldsOf(line);
  return fate === 'quiet' || fate === 'refused' || fate === 'unknown' ? fate : null;
}

function fieldsOf(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isNumber(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
