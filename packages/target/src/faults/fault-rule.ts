import {
  changedSettings,
  fields,
  NvbraidError,
  type Plain,
  parseRange,
  readSettings,
  type Setting,
  type SettingsOf,
  settingTable,
} from '@nvbraid/base';
import {
  ADMIN_OPCODE_NAMES,
  ANA_STATE_NAMES,
  FABRICS_TYPE_NAMES,
  IO_OPCODE_NAMES,
  type Names,
  PduType,
} from '@nvbraid/wire';
import { MAX_FAULT_MS } from '../limits.ts';
import { checkNqn } from '../nqn.ts';

/** What is done to a PDU, or by the control plane. */
export const PDU_ACTIONS = [
  'drop',
  'delay',
  'stall',
  'corrupt',
  'truncate',
  'header-digest',
  'data-digest',
  'kill-queue',
  'kill-controller',
] as const;
export const TIMED_ACTIONS = ['ana-flap', 'aen-storm'] as const;
export type PduAction = (typeof PDU_ACTIONS)[number];
export type TimedAction = (typeof TIMED_ACTIONS)[number];
export type FaultAction = PduAction | TimedAction;

/** PDUs that go to the controller, and those that go to the host. */
const H2C = {
  ICReq: PduType.ICReq,
  H2CTermReq: PduType.H2CTermReq,
  CapsuleCmd: PduType.CapsuleCmd,
  H2CData: PduType.H2CData,
};
const C2H = {
  ICResp: PduType.ICResp,
  C2HTermReq: PduType.C2HTermReq,
  CapsuleResp: PduType.CapsuleResp,
  C2HData: PduType.C2HData,
  R2T: PduType.R2T,
};
const PDU_NAMES: readonly string[] = [...Object.keys(H2C), ...Object.keys(C2H)];
const PDU_CODES: readonly number[] = [...Object.values(H2C), ...Object.values(C2H)];

function nqnSetting(help: string): Setting<string | null> {
  return fields.orNone({
    default: '',
    help,
    value: 'NQN',
    what: 'an NQN',
    read(input) {
      if (typeof input !== 'string') return undefined;
      try {
        checkNqn(input, 'NQN');
      } catch {
        return undefined;
      }
      return input;
    },
  });
}

/** `Keep Alive` as `keep-alive`; commands that two sets share are found in both. */
function spelled(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

/** A number that opcodes of commands and types of fabrics commands share. */
const FABRICS = 0x7f;
export function commandCode(opcode: number, fctype: number): number {
  return opcode === FABRICS ? 0x100 | fctype : opcode;
}

/** Codes that a name means on an admin queue and on an I/O queue; -1 for none. */
interface CommandCodes {
  readonly admin: number;
  readonly io: number;
}

function commandCodes(text: string): CommandCodes | null {
  if (/^(0x[0-9a-f]{1,2}|\d{1,3})$/i.test(text) && Number(text) <= 0xff)
    return { admin: Number(text), io: Number(text) };
  const find = (names: Names): number => {
    const entry = Object.entries(names).find(([, name]) => spelled(name ?? '') === text);
    return entry === undefined ? -1 : Number(entry[0]);
  };
  const fabrics = find(FABRICS_TYPE_NAMES);
  if (fabrics >= 0) return { admin: 0x100 | fabrics, io: 0x100 | fabrics };
  const codes = { admin: find(ADMIN_OPCODE_NAMES), io: find(IO_OPCODE_NAMES) };
  return codes.admin < 0 && codes.io < 0 ? null : codes;
}

const opcodeSetting: Setting<string> = {
  default: '',
  help: 'Only PDUs of this command, e.g. write, keep-alive, connect, or a number',
  value: 'NAME',
  what: 'the name of a command such as write, keep-alive or connect, or an opcode',
  read: (input) => {
    const text = typeof input === 'number' ? String(input) : input;
    return typeof text === 'string' && commandCodes(text) !== null ? text : undefined;
  },
};

const ANA_STATES = Object.values(ANA_STATE_NAMES) as string[];

export const FAULT_TABLE = settingTable({
  action: fields.choice([...PDU_ACTIONS, ...TIMED_ACTIONS], 'drop', 'What happens'),
  host: nqnSetting('Only this host'),
  subsystem: nqnSetting('Only this subsystem'),
  port: fields.orNone(fields.wholeNumber(0, 0xffff, 1, 'Only this port')),
  qid: fields.orNone(fields.numberRange(0xffff, 'Only these queues; 0 is the admin queue')),
  pdu: fields.words(PDU_NAMES, 'all', 'Only these types of PDU; they say the direction, too'),
  opcode: fields.orNone(opcodeSetting),
  probability: fields.probability(1, 'How many of them are hit'),
  skip: fields.wholeNumber(0, 0x7fffffff, 0, 'Lets this many pass first'),
  count: fields.orNone(fields.wholeNumber(1, 0x7fffffff, 1, 'Hits this many, then no more')),
  seed: fields.orNone(
    fields.wholeNumber(0, 2 ** 32 - 1, 0, 'Seed of what is random; chosen and kept when it is not given'),
  ),
  time: fields.milliseconds(MAX_FAULT_MS, 0, 'delay, stall: how long (stall: 0 is until the fault is removed)'),
  part: fields.choice(['any', 'header', 'data'], 'any', 'corrupt: where one bit is flipped'),
  interval: fields.milliseconds(MAX_FAULT_MS, 1000, 'ana-flap, aen-storm: time between two changes or events'),
  group: fields.wholeNumber(1, 128, 1, 'ana-flap: the ANA group'),
  state: fields.choice(ANA_STATES, 'inaccessible', 'ana-flap: the state that it takes in turn with its own'),
  event: fields.choice(['namespace', 'ana'], 'namespace', 'aen-storm: which event'),
});

/** A fault as it is asked for: plain JSON; what is left out is as in FAULT_TABLE. */
export type FaultRule = Partial<{ readonly [K in keyof typeof FAULT_TABLE]: Plain }> & { readonly action: FaultAction };
/** With everything that was left out. */
export type FaultSettings = SettingsOf<typeof FAULT_TABLE>;

/** Keys that only some actions know. */
const OF_ACTIONS: Readonly<Partial<Record<keyof FaultSettings, readonly FaultAction[]>>> = {
  time: ['delay', 'stall'],
  part: ['corrupt'],
  interval: TIMED_ACTIONS,
  group: ['ana-flap'],
  state: ['ana-flap'],
  event: ['aen-storm'],
  qid: PDU_ACTIONS,
  pdu: PDU_ACTIONS,
  opcode: PDU_ACTIONS,
  probability: PDU_ACTIONS,
  skip: PDU_ACTIONS,
  seed: PDU_ACTIONS,
};

/** @throws NvbraidError EINVAL with a sentence that names the key */
export function readFault(input: unknown): FaultSettings {
  const settings = readSettings(FAULT_TABLE, input, 'fault');
  const given = Object.keys(input as object);
  if (!given.includes('action')) {
    const known = FAULT_TABLE.action.what;
    throw new NvbraidError('EINVAL', `fault: action is missing; it is ${known}`, { context: { key: 'action' } });
  }
  const { action } = settings;
  for (const key of given as (keyof FaultSettings)[]) {
    const only = OF_ACTIONS[key];
    if (only !== undefined && !only.includes(action) && settings[key] !== FAULT_TABLE[key].default) {
      throw new NvbraidError('EINVAL', `fault: ${key} means nothing for ${action}; it is for ${only.join(', ')}`, {
        context: { key },
      });
    }
  }
  if (action === 'delay' && settings.time === 0) {
    throw new NvbraidError('EINVAL', 'fault: delay needs a time, e.g. time=20ms', { context: { key: 'time' } });
  }
  if (action === 'data-digest' && settings.pdu !== 'all' && !/CapsuleCmd|H2CData|C2HData/.test(settings.pdu)) {
    throw new NvbraidError('EINVAL', `fault: ${settings.pdu} carries no data, and no data digest`, {
      context: { key: 'pdu' },
    });
  }
  return settings;
}

/** The shortest rule that means the same. */
export function faultRule(settings: FaultSettings): Record<string, Plain> {
  return { action: settings.action, ...changedSettings(FAULT_TABLE, settings) };
}

/** A rule in force, as data that can be posted to another thread. */
export interface PublishedFault {
  /** Unique within a target. */
  readonly id: number;
  readonly settings: FaultSettings;
  /** Shared by all threads: see FaultCounter. */
  readonly counters: SharedArrayBuffer;
}

/** Words of `PublishedFault.counters`. */
export const FaultCounter = {
  /** PDUs to let pass before the first is hit. */
  Skip: 0,
  /** Hits that are left; negative: no end. */
  Left: 1,
  Hits: 2,
} as const;
export const FAULT_COUNTERS = 3;

export function publishFault(id: number, settings: FaultSettings): PublishedFault {
  const counters = new SharedArrayBuffer(FAULT_COUNTERS * 4);
  const words = new Int32Array(counters);
  words[FaultCounter.Skip] = settings.skip;
  words[FaultCounter.Left] = settings.count ?? -1;
  return { id, settings, counters };
}

/** Whose queue it is, as far as a rule can tell. */
export interface QueueIdentity {
  /** Null before Connect. */
  readonly hostnqn: string | null;
  readonly subnqn: string | null;
  readonly portId: number;
  /** -1 before Connect. */
  readonly qid: number;
}

export function isPduAction(action: FaultAction): action is PduAction {
  return (PDU_ACTIONS as readonly string[]).includes(action);
}

/** Whether a rule can ever hit a PDU of this queue. */
export function concerns(settings: FaultSettings, queue: QueueIdentity): boolean {
  if (!isPduAction(settings.action)) return false;
  if (settings.host !== null && settings.host !== queue.hostnqn) return false;
  if (settings.subsystem !== null && settings.subsystem !== queue.subnqn) return false;
  if (settings.port !== null && settings.port !== queue.portId) return false;
  if (settings.qid === null) return true;
  const range = parseRange(settings.qid)!;
  return queue.qid >= range.first && queue.qid <= range.last;
}

/** One bit per PDU type that the rule names. */
export function pduBits(kept: string): number {
  if (kept === 'all') return PDU_CODES.reduce((bits, type) => bits | (1 << type), 0);
  return kept.split(' ').reduce((bits, name) => {
    const i = PDU_NAMES.indexOf(name);
    return i < 0 ? bits : bits | (1 << PDU_CODES[i]!);
  }, 0);
}

/** The command code that the rule names on this queue; -1 for any, -2 for one that does not exist there. */
export function ruleCode(settings: FaultSettings, qid: number): number {
  if (settings.opcode === null) return -1;
  const codes = commandCodes(settings.opcode)!;
  const code = qid > 0 ? codes.io : codes.admin;
  return code < 0 ? -2 : code;
}
