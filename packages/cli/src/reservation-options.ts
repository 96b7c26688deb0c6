import { RESERVATION_TYPE_NAMES } from '@nvbraid/wire';
import type { Options } from './command.ts';
import { namespaceOption, outputOptions, sessionOptions } from './options.ts';
import { UsageError } from './usage-error.ts';

/*
 * Options of the reservation commands. Names are those of nvme-cli, letters too unless the options that say which
 * controller is meant have them already.
 */

export const reservationOptions = {
  ...namespaceOption,
  ...sessionOptions,
  ...outputOptions,
} as const satisfies Options;

export const crkeyOption = {
  crkey: { type: 'text', short: 'c', value: 'KEY', default: '0', help: 'Current reservation key of this host' },
} as const satisfies Options;

export const iekeyOption = {
  iekey: { type: 'flag', short: 'i', help: 'Ignore the existing key' },
} as const satisfies Options;

const TYPES = Object.entries(RESERVATION_TYPE_NAMES)
  .map(([number, name]) => `${number} ${name}`)
  .join(', ');

/** rtype, which commands need or not. */
export const rtypeOption = {
  rtype: { type: 'number', value: 'NUMBER', min: 0, max: 255, default: 0, help: `Reservation type: ${TYPES}` },
} as const satisfies Options;

/** A reservation key, decimal or 0x. @throws UsageError */
export function parseKey(name: string, text: string): bigint {
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw new UsageError(`--${name}: '${text}' is not a whole number`);
  const key = BigInt(text);
  if (key > 0xffff_ffff_ffff_ffffn) throw new UsageError(`--${name}: ${text} has more than 64 bits`);
  return key;
}
