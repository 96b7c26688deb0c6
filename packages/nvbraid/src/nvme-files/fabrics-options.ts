import { NvbraidError } from '@nvbraid/base';
import type { DiscoveryService } from '../discovery/service-address.ts';
import { NO_TLS as TLS } from '../tls-refusal.ts';

/** What a line or an object of nvme-cli's files says about one controller. */
export interface FileEntry {
  options: Partial<DiscoveryService>;
  /** Why it cannot be connected by us, although nothing is wrong with it. */
  unsupported: string | null;
}

interface Row {
  readonly short?: string;
  readonly key?: keyof DiscoveryService;
  readonly type: 'text' | 'number' | 'flag';
  readonly least?: number;
  readonly most?: number;
  /** Without it we would connect to something else than was meant. */
  readonly refuse?: string;
}

const SECONDS = { type: 'number', least: -1, most: 86_400 } as const;
const AUTHENTICATION = 'authentication is not supported';

/** The options of nvme-cli by their long names, as command lines, JSON and INI files have them. */
const ROWS: Readonly<Record<string, Row>> = {
  transport: { short: 't', key: 'transport', type: 'text' },
  traddr: { short: 'a', key: 'traddr', type: 'text' },
  trsvcid: { short: 's', key: 'trsvcid', type: 'number', least: 1, most: 65_535 },
  nqn: { short: 'n', key: 'nqn', type: 'text' },
  hostnqn: { short: 'q', key: 'hostnqn', type: 'text' },
  hostid: { short: 'I', key: 'hostid', type: 'text' },
  'host-traddr': { short: 'w', key: 'hostTraddr', type: 'text' },
  'host-iface': { short: 'f', key: 'hostIface', type: 'text' },
  'nr-io-queues': { short: 'i', key: 'nrIoQueues', type: 'number', least: 1, most: 128 },
  'nr-write-queues': { short: 'W', key: 'nrWriteQueues', type: 'number', least: 0, most: 128 },
  'queue-size': { short: 'Q', key: 'queueSize', type: 'number', least: 16, most: 1024 },
  'keep-alive-tmo': { short: 'k', key: 'keepAliveTmo', type: 'number', least: 0, most: 65_535 },
  'reconnect-delay': { short: 'c', key: 'reconnectDelay', type: 'number', least: 1, most: 86_400 },
  'ctrl-loss-tmo': { short: 'l', key: 'ctrlLossTmo', ...SECONDS },
  'fast-io-fail-tmo': { key: 'fastIoFailTmo', ...SECONDS },
  tos: { short: 'T', key: 'tos', type: 'number', least: -1, most: 255 },
  'disable-sqflow': { key: 'disableSqflow', type: 'flag' },
  'hdr-digest': { short: 'g', key: 'hdrDigest', type: 'flag' },
  'data-digest': { short: 'G', key: 'dataDigest', type: 'flag' },
  'duplicate-connect': { short: 'D', key: 'duplicateConnect', type: 'flag' },
  tls: { type: 'flag', refuse: TLS },
  'tls-key': { type: 'text', refuse: TLS },
  'tls-key-identity': { type: 'text', refuse: TLS },
  concat: { type: 'flag', refuse: TLS },
  'dhchap-secret': { short: 'S', type: 'text', refuse: AUTHENTICATION },
  'dhchap-ctrl-secret': { short: 'C', type: 'text', refuse: AUTHENTICATION },
  'dhchap-key': { type: 'text', refuse: AUTHENTICATION },
  'dhchap-ctrl-key': { type: 'text', refuse: AUTHENTICATION },
  'kxchap-secret': { type: 'text', refuse: AUTHENTICATION },
  'kxchap-ctrl-secret': { type: 'text', refuse: AUTHENTICATION },
  // Without meaning for a program that connects by itself.
  'nr-poll-queues': { short: 'P', type: 'text' },
  keyring: { type: 'text' },
  persistent: { short: 'p', type: 'flag' },
  discovery: { type: 'flag' },
  quiet: { type: 'flag' },
  matching: { short: 'm', type: 'flag' },
  verbose: { short: 'v', type: 'flag' },
  'output-format': { short: 'o', type: 'text' },
};

const TRANSPORTS = ['tcp', 'mptcp', 'net'];

/** The long name of an option; null for one that nvme-cli does not have. */
export function optionName(text: string): string | null {
  const long = text.replaceAll('_', '-').toLowerCase();
  return Object.hasOwn(ROWS, long) ? long : null;
}

export function shortOption(letter: string): string | null {
  return Object.entries(ROWS).find(([, { short }]) => short === letter)?.[0] ?? null;
}

export function isFlag(name: string): boolean {
  return ROWS[name]!.type === 'flag';
}

/**
 * Puts one option into an entry.
 * @param value text, or what JSON had
 * @param where begins the sentence of an error: file and line
 * @throws NvbraidError EINVAL
 */
export function setOption(entry: FileEntry, name: string, value: unknown, where: string): void {
  const row = ROWS[name]!;
  const bad = (what: string): NvbraidError =>
    new NvbraidError('EINVAL', `${where}: ${name} is ${what}: ${JSON.stringify(value) ?? 'nothing'}`.slice(0, 300));
  const options = entry.options as Record<string, unknown>;
  if (row.type === 'flag') {
    const on = value === true || value === 'true' || value === '1' || value === 'yes';
    if (!on && ![false, 'false', '0', 'no'].includes(value as string)) throw bad('true or false');
    if (on && row.refuse !== undefined) entry.unsupported = row.refuse;
    if (row.key !== undefined) options[row.key] = on;
    return;
  }
  if (row.type === 'number') {
    const number = typeof value === 'string' && /^-?[0-9]{1,9}$/.test(value) ? Number(value) : value;
    const { least = 0, most = 0 } = row;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < least || number > most) {
      throw bad(`a whole number from ${least} to ${most}`);
    }
    // -1 is how nvme-cli writes "not set" here.
    if (name !== 'tos' || number >= 0) options[row.key!] = number;
    return;
  }
  if (typeof value !== 'string' || value === '' || value.length > 1024 || !/^[\x21-\x7e]+$/.test(value)) {
    throw bad('a word of printable characters');
  }
  // "none" is how nvme-cli's own files leave it out.
  if (value === 'none') return;
  if (row.refuse !== undefined) entry.unsupported = row.refuse;
  if (name === 'transport' && !TRANSPORTS.includes(value)) entry.unsupported = `transport ${value} is not supported`;
  if (row.key !== undefined) options[row.key] = value;
}
