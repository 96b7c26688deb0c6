import type { Options, Values } from './command.ts';

/* Options that several commands share. Names and letters are those of nvme-cli. */

export const outputOptions = {
  'output-format': {
    type: 'choice',
    short: 'o',
    choices: ['normal', 'json'],
    default: 'normal',
    env: 'NVBRAID_OUTPUT',
    help: 'How to print',
  },
} as const satisfies Options;

export const verboseOption = {
  verbose: { type: 'count', short: 'v', help: 'Say more' },
} as const satisfies Options;

export const TRANSPORTS = ['tcp', 'mptcp', 'net'] as const;

const transportOption = {
  transport: {
    type: 'choice',
    short: 't',
    choices: TRANSPORTS,
    default: 'tcp',
    help: 'Transport: tcp on raw sockets, mptcp (Multipath TCP of Linux), net: tcp on the sockets of Node (works everywhere)',
  },
} as const satisfies Options;

export const PORT_MAX = 65535;

/** Where a target listens. */
export const listenOptions = {
  ...transportOption,
  traddr: { type: 'text', short: 'a', value: 'ADDR', default: '127.0.0.1', help: 'Address to listen on' },
  trsvcid: {
    type: 'number',
    short: 's',
    value: 'PORT',
    min: 0,
    max: PORT_MAX,
    default: 4420,
    help: 'Port to listen on; 0 lets the system choose',
  },
} as const satisfies Options;

const hostNqnOptions = {
  hostnqn: {
    type: 'text',
    short: 'q',
    value: 'NQN',
    help: 'Host NQN; else the one in /etc/nvme/hostnqn, else a new one',
  },
  hostid: { type: 'text', short: 'I', value: 'UUID', help: 'Host identifier; else the one in /etc/nvme/hostid' },
} as const satisfies Options;

const socketOptions = {
  'host-traddr': { type: 'text', short: 'w', value: 'ADDR', help: 'Source address' },
  'host-iface': { type: 'text', short: 'f', value: 'DEVICE', help: 'Network device to go out by' },
  tos: { type: 'number', short: 'T', value: 'NUMBER', min: 0, max: 255, help: 'IP type of service' },
} as const satisfies Options;

/** Which controller to reach. */
export const addressOptions = {
  ...transportOption,
  traddr: { type: 'text', short: 'a', value: 'ADDR', help: 'Address of the target' },
  trsvcid: {
    type: 'number',
    short: 's',
    value: 'PORT',
    min: 1,
    max: PORT_MAX,
    help: 'Port of the target (default: 4420, for discovery 8009)',
  },
  nqn: { type: 'text', short: 'n', value: 'NQN', help: 'Subsystem; may be left out where the target has only one' },
} as const satisfies Options;

/** How an association is made. */
export const associationOptions = {
  ...hostNqnOptions,
  ...socketOptions,
  'keep-alive-tmo': {
    type: 'number',
    short: 'k',
    value: 'SECONDS',
    min: 0,
    max: 0xffff,
    default: 5,
    help: 'Keep alive timeout; 0 for none',
  },
  'hdr-digest': { type: 'flag', short: 'g', help: 'Protect the headers of PDUs with CRC32C' },
  'data-digest': { type: 'flag', short: 'G', help: 'Protect the data of PDUs with CRC32C' },
} as const satisfies Options;

export const queueOptions = {
  'nr-io-queues': {
    type: 'number',
    short: 'i',
    value: 'NUMBER',
    min: 1,
    max: 128,
    default: 1,
    help: 'I/O queues, each a connection of its own',
  },
  'queue-size': {
    type: 'number',
    short: 'Q',
    value: 'NUMBER',
    min: 16,
    max: 1024,
    default: 128,
    help: 'Entries of an I/O queue',
  },
  'disable-sqflow': { type: 'flag', help: 'Disable flow control of submission queues' },
} as const satisfies Options;

export const recoveryOptions = {
  'reconnect-delay': {
    type: 'number',
    short: 'c',
    value: 'SECONDS',
    min: 1,
    max: 86400,
    default: 10,
    help: 'Time between attempts to connect again',
  },
  'ctrl-loss-tmo': {
    type: 'number',
    short: 'l',
    value: 'SECONDS',
    min: -1,
    max: 86400,
    default: 600,
    help: 'Time after which a lost controller is given up; 0 at once, -1 never',
  },
} as const satisfies Options;

/** How a subsystem is used by several paths. */
export const multipathOptions = {
  path: {
    type: 'list',
    value: 'ADDR[:PORT][,...]',
    help: 'One more path, as 10.0.0.2:4420; ,transport= ,host-traddr= and ,host-iface= may follow',
  },
  'nr-write-queues': {
    type: 'number',
    short: 'W',
    value: 'NUMBER',
    min: 0,
    max: 128,
    default: 0,
    help: 'More I/O queues, for commands that write',
  },
  iopolicy: {
    type: 'choice',
    choices: ['numa', 'round-robin', 'queue-depth', 'service-time'],
    default: 'numa',
    help: 'Which of several good paths a command takes',
  },
  'safe-failover': {
    type: 'choice',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Send a write of unknown fate by another path only when its old association is over for certain; off is faster, and an old write may replace a newer one',
  },
  'fast-io-fail-tmo': {
    type: 'number',
    value: 'SECONDS',
    min: -1,
    max: 86400,
    default: -1,
    help: 'Time after which commands do not wait any more for a lost controller; -1: as long as it is tried to connect again',
  },
  'delayed-removal-secs': {
    type: 'number',
    value: 'SECONDS',
    min: 0,
    max: 86400,
    default: 0,
    help: 'How long a namespace outlives its last path',
  },
} as const satisfies Options;

/** Which running process to talk to. */
export const processOptions = {
  socket: {
    type: 'text',
    value: 'PATH',
    env: 'NVBRAID_SOCKET',
    completes: 'file',
    help: 'Control socket of a running nvbraid; else the only connect, or the only serve',
  },
} as const satisfies Options;

/** Of the commands that run until they are stopped. */
export const ownSocketOptions = {
  socket: { type: 'text', value: 'PATH', completes: 'file', help: 'Path of the control socket to make' },
} as const satisfies Options;

/** A running process, or a target to make a short association with. */
export const sessionOptions = {
  ...processOptions,
  ...addressOptions,
  ...associationOptions,
} as const satisfies Options;

export const namespaceOption = {
  'namespace-id': {
    type: 'number',
    aliases: ['nsid'],
    value: 'NSID',
    min: 1,
    max: 0xfffffffe,
    help: 'Namespace; may be left out where there is only one',
  },
} as const satisfies Options;

export type SessionValues = Values<typeof sessionOptions>;
export type AssociationValues = Values<typeof associationOptions>;
