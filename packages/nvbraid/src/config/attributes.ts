import { type ErrorCode, NvbraidError } from '@nvbraid/base';
import { type FilterConfig, nullDevice, stackFilters, type ZonedOptions, zonedDevice } from '@nvbraid/blockdev';
import {
  DEFAULT_FIRMWARE,
  derivedUuid,
  digest128,
  FIRMWARE_BYTES,
  hexOf,
  MAX_ANA_GROUPS,
  MAX_CNTLID,
  MAX_CONTROLLERS,
  MAX_CQT_MS,
  MAX_FAULTS,
  MAX_IO_QUEUES,
  MAX_NAMESPACE_HOSTS,
  MODEL_BYTES,
  nqnProblem,
  readFault,
  SERIAL_BYTES,
  TRADDR_BYTES,
  TRSVCID_BYTES,
  VERSION,
  versionOf,
  versionText,
} from '@nvbraid/target';
import { DISCOVERY_NQN, TRTYPE_NAMES } from '@nvbraid/wire';
import { checkHostOptions, type HostOptions } from '../host-block.ts';
import { POOL_BYTES } from '../limits.ts';
import { type TargetLimits, targetLimits } from '../target-limits.ts';
import type { KindName } from './kinds.ts';
import {
  address,
  bytes,
  eui64,
  flag,
  hex,
  json,
  nguid,
  orNothing,
  path,
  text,
  trigger,
  uuid,
  type ValueType,
  whole,
  word,
} from './values.ts';

/** Where an attribute stands in nvmetcli's JSON. */
export interface Place {
  /** The object in which it stands, e.g. `attr`; null: in the object itself. */
  readonly section: string | null;
  readonly key: string;
  /** nvmetcli has texts in sections and numbers beside them; under `nvbraid` there is what JSON has for it. */
  readonly as: 'text' | 'number' | 'flag' | 'json';
}

/** When nvmet lets an attribute be written, and with what it refuses otherwise. */
export type When =
  | { readonly rule: 'any' }
  /** While the object is disabled. */
  | { readonly rule: 'disabled'; readonly code: ErrorCode }
  /** Until the first controller of the subsystem is made. */
  | { readonly rule: 'undiscovered' }
  /** While the object is enabled: a command. */
  | { readonly rule: 'enabled' };

/** One attribute: listing, reading, writing, JSON, differences and documentation are made of this row. */
export interface AttributeRow {
  /** As the file in configfs, or `nvbraid_…` for what nvmet does not have. */
  readonly name: string;
  readonly type: ValueType;
  /** The value of an object that was just made; `names` are those on its path, e.g. NQN and nsid. */
  readonly default: string | ((names: readonly string[]) => string);
  readonly when: When;
  /** Empty: not saved. */
  readonly places: readonly Place[];
  /** A phrase for the documentation. */
  readonly help: string;
  /** Only written, never read. */
  readonly writeOnly: boolean;
  /** Why a value of nvmet cannot be had here, or null when it can. */
  unsupported(value: string): string | null;
  /** What a value does here that is kept but changes nothing; null when it is applied. */
  readonly ignored: string | null;
  /** Has a value only while another attribute has one of these: else it reads empty, and writing it is EINVAL. */
  readonly only: { readonly attribute: string; readonly values: readonly string[] } | null;
}

type Extra = Partial<Pick<AttributeRow, 'writeOnly' | 'unsupported' | 'ignored' | 'places' | 'only'>>;

function row(
  name: string,
  type: ValueType,
  fallback: AttributeRow['default'],
  when: When,
  help: string,
  extra: Extra = {},
): AttributeRow {
  return {
    ...{ name, type, default: fallback, when, help, places: placesOf(name) },
    ...{ writeOnly: false, unsupported: () => null, ignored: null, only: null },
    ...extra,
  };
}

/** nvmetcli saves the attributes whose names begin with the name of a section. */
function placesOf(name: string): Place[] {
  const match = /^(attr|device|ana|resv|addr|param|discovery)_(.+)$/.exec(name);
  return match === null ? [] : [{ section: match[1]!, key: match[2]!, as: 'text' }];
}

const own = (key: string, as: Place['as'] = 'number'): Place[] => [{ section: null, key, as }];
const nvbraid = (key: string, as: Place['as']): Place[] => [{ section: 'nvbraid', key, as }];

/** An option that nvmet does not have: `nvbraid_KEY` here, KEY under `nvbraid` in the file. */
export function option(
  key: string,
  as: Place['as'],
  type: ValueType,
  fallback: string,
  when: When,
  help: string,
): AttributeRow {
  return row(`nvbraid_${key}`, as === 'flag' ? type : orNothing(type), fallback, when, help, {
    places: nvbraid(key, as),
  });
}

export const any: When = { rule: 'any' };
const undiscovered: When = { rule: 'undiscovered' };
const disabled = (code: ErrorCode): When => ({ rule: 'disabled', code });
export const namespaceDisabled = disabled('EBUSY');
const portDisabled = disabled('EACCES');

const nqn: ValueType = { says: 'a qualified name', parse: (value) => (nqnProblem(value) === null ? value : null) };
const version: ValueType = {
  says: 'a version from 1.2.1 to 2.1',
  parse: (value) => {
    try {
      return versionText(versionOf(value));
    } catch {
      return null;
    }
  },
};

/** Hosts by NQN, or none for all. */
const hosts = json('a list of host NQNs in JSON', (value) => {
  if (!Array.isArray(value)) return 'is no list';
  const wrong = value.find((entry) => typeof entry !== 'string' || nqnProblem(entry) !== null);
  return wrong !== undefined
    ? 'has an entry that is no NQN'
    : value.length > MAX_NAMESPACE_HOSTS
      ? 'is too long'
      : null;
});

/** What a maker of the library takes: it says itself what is wrong. */
const accepted = (says: string, maker: (value: unknown) => unknown): ValueType =>
  json(says, (value) => {
    try {
      maker(value);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  });

/** What one host may have and do. */
const hostLimits = accepted('limits of a host in JSON', (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new NvbraidError('EINVAL', 'limits are an object');
  }
  return checkHostOptions(value as HostOptions);
});

/** Filters over the device, the first nearest to the host. */
const filters = accepted('a list of filters in JSON', (value) =>
  stackFilters(nullDevice({ size: 4096 }), value as FilterConfig[]),
);

const zoned = accepted('options of zones in JSON', (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new NvbraidError('EINVAL', 'zones are described by an object');
  }
  return zonedDevice(nullDevice({ size: 4096 }), value as ZonedOptions);
});

/** Protocol faults, tried in this order. */
const faults = accepted('a list of protocol faults in JSON', (value) => {
  if (!Array.isArray(value)) throw new NvbraidError('EINVAL', 'faults are a list');
  if (value.length > MAX_FAULTS) throw new NvbraidError('EINVAL', `there are at most ${MAX_FAULTS} faults`);
  return value.map((rule) => readFault(rule));
});

const limits = accepted('limits in JSON', (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new NvbraidError('EINVAL', 'limits are an object');
  }
  return targetLimits(value as Partial<TargetLimits>, POOL_BYTES);
});

const offOnly =
  (what: string) =>
  (value: string): string | null =>
    value === '1' ? `${what} is not built` : null;

const notBuilt =
  (what: string) =>
  (value: string): string | null =>
    value === '' ? null : `${what} is not built`;

const DHCHAP = 'in-band authentication';
const NIL_UUID = '00000000-0000-0000-0000-000000000000';

/** In the order in which a restore has to write them: the transport before what depends on it. */
const addresses = (referral: boolean): AttributeRow[] => [
  row('addr_trtype', orNothing(word(...Object.values(TRTYPE_NAMES), 'pci')), '', portDisabled, 'Transport'),
  row(
    'addr_adrfam',
    orNothing(word('ipv4', 'ipv6', 'ib', 'fc', 'pcie', 'pci', 'loop')),
    '',
    portDisabled,
    'Address family',
  ),
  row('addr_traddr', orNothing(address(TRADDR_BYTES)), '', portDisabled, 'Address'),
  row('addr_trsvcid', orNothing(address(TRSVCID_BYTES)), '', portDisabled, 'Service: the TCP port'),
  row(
    'addr_treq',
    orNothing(word('not specified', 'required', 'not required')),
    'not specified',
    portDisabled,
    'Whether a secure channel is required',
    { unsupported: (value) => (!referral && value === 'required' ? 'TLS is not built' : null) },
  ),
];

const defaultUuid = (names: readonly string[]): string => derivedUuid(`${names[0]}/${names[1]}`);

export const ATTRIBUTES: Readonly<Record<KindName, readonly AttributeRow[]>> = {
  root: [
    row('discovery_nqn', nqn, DISCOVERY_NQN, any, 'Unique name of the discovery subsystem'),
    option('limits', 'json', limits, '', any, 'What peers may make the target hold; only when the process starts'),
    option(
      'state_directory',
      'text',
      path,
      '',
      any,
      'Where the state of namespaces on block devices is kept; only when the process starts',
    ),
    option('host_defaults', 'json', hostLimits, '', any, 'What every host may have and do'),
    option('faults', 'json', faults, '', any, 'Protocol faults to inject'),
  ],
  host: [
    row('dhchap_key', orNothing(text(1024)), '', any, 'Secret of the host', { unsupported: notBuilt(DHCHAP) }),
    row('dhchap_ctrl_key', orNothing(text(1024)), '', any, 'Secret of the controller', {
      unsupported: notBuilt(DHCHAP),
    }),
    row(
      'dhchap_hash',
      word('hmac(sha256)', 'hmac(sha384)', 'hmac(sha512)'),
      'hmac(sha256)',
      any,
      'Hash of the authentication',
      {
        ignored: `${DHCHAP} is not built`,
      },
    ),
    row(
      'dhchap_dhgroup',
      word('null', 'ffdhe2048', 'ffdhe3072', 'ffdhe4096', 'ffdhe6144', 'ffdhe8192'),
      'null',
      any,
      'Group of the authentication',
      {
        ignored: `${DHCHAP} is not built`,
      },
    ),
    option('limits', 'json', hostLimits, '', any, 'What this host may have and do, in place of what holds for all'),
  ],
  subsystem: [
    row('attr_allow_any_host', flag, '0', any, 'Any host may connect, not only those in allowed_hosts'),
    row('attr_version', version, versionText(VERSION), undiscovered, 'NVMe version, 1.2.1 to 2.1'),
    row(
      'attr_serial',
      text(SERIAL_BYTES),
      (names) => hexOf(digest128(names[0]!)).slice(0, SERIAL_BYTES),
      undiscovered,
      'Serial number',
    ),
    row('attr_model', text(MODEL_BYTES), 'nvbraid', undiscovered, 'Model number'),
    row('attr_firmware', text(FIRMWARE_BYTES), DEFAULT_FIRMWARE, undiscovered, 'Firmware revision'),
    row('attr_ieee_oui', hex(0xffffff, 6), '0x000000', undiscovered, 'IEEE OUI identifier'),
    row('attr_cntlid_min', whole(1, MAX_CNTLID), '1', any, 'Smallest controller identifier'),
    row('attr_cntlid_max', whole(1, MAX_CNTLID), String(MAX_CNTLID), any, 'Largest controller identifier'),
    row('attr_vendor_id', hex(0xffff, 1), '0x0', any, 'PCI vendor identifier'),
    row('attr_subsys_vendor_id', hex(0xffff, 1), '0x0', any, 'PCI subsystem vendor identifier'),
    row(
      'attr_qid_max',
      whole(1, MAX_IO_QUEUES),
      String(MAX_IO_QUEUES),
      any,
      'I/O queues of a controller; a change ends all controllers',
    ),
    row('attr_pi_enable', flag, '0', any, 'Protection information', { unsupported: offOnly('protection information') }),
    option('cqt_ms', 'number', whole(1, MAX_CQT_MS), '', undiscovered, 'Command Quiesce Time in ms (default: 5100)'),
    option('max_controllers', 'number', whole(1, MAX_CONTROLLERS), '', any, 'Controllers at a time (default: 1024)'),
  ],
  namespace: [
    row('device_path', orNothing(path), '', namespaceDisabled, 'Image file or block device'),
    row('device_uuid', uuid, defaultUuid, namespaceDisabled, 'UUID'),
    row('device_nguid', nguid, NIL_UUID, namespaceDisabled, 'NGUID; all zero: none'),
    row('ana_grpid', whole(1, MAX_ANA_GROUPS), '1', any, 'ANA group; also moves a namespace that is enabled', {
      places: [{ section: 'ana', key: 'grpid', as: 'text' }, ...own('ana_grpid')],
    }),
    row('buffered_io', flag, '0', disabled('EINVAL'), 'Use the page cache', {
      places: nvbraid('buffered_io', 'flag'),
      ignored: 'files are always read and written through the page cache; Flush and FUA make data stable',
    }),
    row('resv_enable', flag, '0', disabled('EINVAL'), 'Hosts can reserve the namespace'),
    row('p2pmem', word('0'), '0', namespaceDisabled, 'Peer-to-peer memory: not here'),
    option(
      'memory',
      'number',
      bytes,
      '',
      namespaceDisabled,
      'Bytes of memory to serve instead of device_path; gone with the process',
    ),
    option(
      'block_size',
      'number',
      whole(512, 65536),
      '',
      namespaceDisabled,
      'Bytes of a logical block (default: 4096 for files and memory, that of a block device)',
    ),
    option('size', 'number', bytes, '', namespaceDisabled, 'Bytes that the file must have, or is made with'),
    option('create', 'flag', flag, '0', namespaceDisabled, 'Make a file that is missing; needs nvbraid_size'),
    option('read_only', 'flag', flag, '0', namespaceDisabled, 'Refuse writes'),
    option('shared', 'flag', flag, '0', namespaceDisabled, 'Serve a file that another process has open too'),
    option('eui64', 'text', eui64, '', namespaceDisabled, 'EUI-64'),
    option(
      'hosts',
      'json',
      hosts,
      '',
      any,
      'Hosts that see the namespace: a list of NQNs (default: all that may connect)',
    ),
    option(
      'zoned',
      'json',
      zoned,
      '',
      namespaceDisabled,
      'Zones: {"zoneSize": …} as zonedDevice takes it (default: none)',
    ),
    option('filters', 'json', filters, '', namespaceDisabled, 'Filters over the device, the first nearest to the host'),
    row('revalidate_size', trigger, '', { rule: 'enabled' }, 'Writing 1 takes over the size that the device has now', {
      writeOnly: true,
      places: [],
    }),
    row('enable', flag, '0', any, 'In service', { places: own('enable') }),
  ],
  passthru: [
    row('device_path', orNothing(path), '', any, 'Controller to pass commands to'),
    row('admin_timeout', whole(0, 0xffffffff), '0', any, 'Timeout of admin commands', { places: own('admin_timeout') }),
    row('io_timeout', whole(0, 0xffffffff), '0', any, 'Timeout of I/O commands', { places: own('io_timeout') }),
    row('clear_ids', whole(0, 0xffffffff), '0', any, 'Hide identifiers', { places: own('clear_ids') }),
    row('enable', flag, '0', any, 'In service', {
      places: own('enable'),
      unsupported: offOnly('passing commands on to a controller'),
    }),
  ],
  port: [
    ...addresses(false),
    row(
      'addr_tsas',
      orNothing(word('none', 'tls1.3', 'connected', 'datagram')),
      'none',
      portDisabled,
      'Security of the transport; empty unless it is tcp or rdma',
      {
        unsupported: (value) => (value === 'tls1.3' ? 'TLS is not built' : null),
        only: { attribute: 'addr_trtype', values: ['', 'tcp', 'rdma'] },
      },
    ),
    row(
      'param_inline_data_size',
      whole(-1, 0x7fffffff),
      '-1',
      portDisabled,
      'Bytes of data in a command capsule; -1: the transport chooses',
    ),
    row(
      'param_max_queue_size',
      whole(-1, 0x7fffffff),
      '-1',
      portDisabled,
      'Entries of an I/O queue; -1: the transport chooses',
    ),
    row(
      'param_mdts',
      whole(-1, 0x7fffffff),
      '-1',
      portDisabled,
      'Largest transfer as a power of two; -1: the transport chooses',
    ),
    row('param_pi_enable', flag, '0', portDisabled, 'Protection information', {
      unsupported: offOnly('protection information'),
    }),
    option(
      'transport',
      'text',
      word('tcp', 'net'),
      '',
      portDisabled,
      'Row of the transport table behind trtype tcp: raw sockets or those of Node',
    ),
    option('allow_fallback', 'flag', flag, '0', portDisabled, 'Take plain TCP connections at a port of trtype mptcp'),
    option('listen', 'flag', flag, '0', any, 'Listen although no subsystem is linked: for discovery'),
  ],
  referral: [
    ...addresses(true),
    row('addr_portid', whole(0, 65535), '0', portDisabled, 'Port identifier'),
    row('enable', flag, '0', any, 'In the discovery log', { places: own('enable') }),
  ],
  'ana-group': [
    row(
      'ana_state',
      word('optimized', 'non-optimized', 'inaccessible', 'persistent-loss', 'change'),
      (names) => (names[1] === '1' ? 'optimized' : 'inaccessible'),
      any,
      'Access state',
    ),
  ],
};
