import type { PathOptions } from 'nvbraid';
import { TRANSPORTS } from './options.ts';
import { UsageError } from './usage-error.ts';

const KEYS = ['transport', 'host-traddr', 'host-iface'] as const;
type Key = (typeof KEYS)[number];

/** A way to a subsystem, complete. */
export interface GivenPath extends PathOptions {
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
}

/**
 * Reads `ADDR[:PORT][,transport=NAME][,host-traddr=ADDR][,host-iface=DEVICE]`; an IPv6 address with a port stands in
 * brackets.
 * @param common what is not said
 * @throws UsageError
 */
export function parsePath(text: string, common: { readonly transport: string; readonly trsvcid: number }): GivenPath {
  const [place = '', ...settings] = text.split(',');
  const match = /^\[([^\]]+)\](?::(.*))?$/.exec(place) ?? /^([^:[\]]+)(?::(.*))?$/.exec(place);
  // More than one colon without brackets: an IPv6 address alone.
  const [traddr, port] = match === null ? [place, undefined] : [match[1]!, match[2]];
  if (match === null && !/^[0-9a-f:.%a-z]*:[0-9a-f:.]*:[0-9a-z:.%]*$/i.test(place)) {
    throw new UsageError(`--path: '${text}' does not begin with an address, as 10.0.0.1:4420 or [fd00::1]:4420`);
  }
  const found = new Map<Key, string>();
  for (const setting of settings) {
    const equals = setting.indexOf('=');
    const key = KEYS.find((name) => name === setting.slice(0, Math.max(0, equals)));
    const value = setting.slice(equals + 1);
    if (key === undefined) throw new UsageError(`--path: '${setting}' is none of ${KEYS.join('=, ')}=`);
    if (value === '') throw new UsageError(`--path: ${key} must not be empty`);
    if (found.has(key)) throw new UsageError(`--path: ${key} is given twice`);
    found.set(key, value);
  }
  const transport = found.get('transport') ?? common.transport;
  if (!TRANSPORTS.some((name) => name === transport)) {
    throw new UsageError(`--path: '${transport}' is none of ${TRANSPORTS.join(', ')}`);
  }
  const hostTraddr = found.get('host-traddr');
  const hostIface = found.get('host-iface');
  return {
    transport,
    traddr,
    trsvcid: port === undefined ? common.trsvcid : portOf(port, text),
    ...(hostTraddr === undefined ? {} : { hostTraddr }),
    ...(hostIface === undefined ? {} : { hostIface }),
  };
}

function portOf(port: string, text: string): number {
  const value = /^[0-9]{1,5}$/.test(port) ? Number(port) : 0;
  if (value >= 1 && value <= 65535) return value;
  throw new UsageError(`--path: '${port}' in '${text}' is not a port from 1 to 65535`);
}

/** Whether two ways are the same one. */
export function samePath(a: GivenPath, b: GivenPath): boolean {
  return (
    a.transport === b.transport &&
    a.traddr === b.traddr &&
    a.trsvcid === b.trsvcid &&
    (a.hostTraddr ?? '') === (b.hostTraddr ?? '') &&
    (a.hostIface ?? '') === (b.hostIface ?? '')
  );
}
