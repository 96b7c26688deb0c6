import type { PathOptions } from 'nvbraid';
import type { Address } from './association.ts';
import { PORT_MAX, TRANSPORTS } from './options.ts';
import { UsageError } from './usage-error.ts';

const KEYS = ['transport', 'host-traddr', 'host-iface'] as const;

type Place = Omit<Address, 'nqn'>;
/** What is not said. */
type Common = Pick<Address, 'transport' | 'trsvcid'>;

/** A way to a subsystem, complete. */
export type GivenPath = PathOptions & Place;

/**
 * Reads `ADDR[:PORT][,transport=NAME][,host-traddr=ADDR][,host-iface=DEVICE]`; an IPv6 address with a port stands in
 * brackets.
 * @param common what is not said
 * @param option what it was given by, for messages
 * @throws UsageError
 */
export function parsePath(text: string, common: Common, option = '--path'): GivenPath {
  const { settings, ...place } = parsePlace(option, text, common, 1, KEYS);
  const hostTraddr = settings.get('host-traddr');
  const hostIface = settings.get('host-iface');
  return {
    ...place,
    ...(hostTraddr === undefined ? {} : { hostTraddr }),
    ...(hostIface === undefined ? {} : { hostIface }),
  };
}

/** Reads `ADDR[:PORT][,transport=NAME]`; port 0 lets the system choose. @throws UsageError */
export function parseListener(text: string, common: Common): Place {
  const { settings: _transport, ...place } = parsePlace('--listen', text, common, 0, ['transport']);
  return place;
}

function parsePlace(
  option: string,
  text: string,
  common: Common,
  least: number,
  keys: readonly string[],
): Place & { readonly settings: ReadonlyMap<string, string> } {
  const [place = '', ...rest] = text.split(',');
  const match = /^\[([^\]]+)\](?::(.*))?$/.exec(place) ?? /^([^:[\]]+)(?::(.*))?$/.exec(place);
  // More than one colon without brackets: an IPv6 address alone.
  const [traddr, port] = match === null ? [place, undefined] : [match[1]!, match[2]];
  if (match === null && !/^[0-9a-f:.%a-z]*:[0-9a-f:.]*:[0-9a-z:.%]*$/i.test(place)) {
    throw new UsageError(`${option}: '${text}' does not begin with an address, as 10.0.0.1:4420 or [fd00::1]:4420`);
  }
  const settings = settingsOf(option, rest, keys);
  const transport = settings.get('transport') ?? common.transport;
  if (!TRANSPORTS.some((name) => name === transport)) {
    throw new UsageError(`${option}: '${transport}' is none of ${TRANSPORTS.join(', ')}`);
  }
  return {
    transport,
    traddr,
    trsvcid: port === undefined ? common.trsvcid : portOf(option, port, text, least),
    settings,
  };
}

function settingsOf(option: string, settings: readonly string[], keys: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const setting of settings) {
    const equals = setting.indexOf('=');
    const key = keys.find((name) => name === setting.slice(0, Math.max(0, equals)));
    const value = setting.slice(equals + 1);
    if (key === undefined) throw new UsageError(`${option}: '${setting}' is none of ${keys.join('=, ')}=`);
    if (value === '') throw new UsageError(`${option}: ${key} must not be empty`);
    if (found.has(key)) throw new UsageError(`${option}: ${key} is given twice`);
    found.set(key, value);
  }
  return found;
}

function portOf(option: string, port: string, text: string, least: number): number {
  const value = /^[0-9]{1,5}$/.test(port) ? Number(port) : -1;
  if (value >= least && value <= PORT_MAX) return value;
  throw new UsageError(`${option}: '${port}' in '${text}' is not a port from ${least} to ${PORT_MAX}`);
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
