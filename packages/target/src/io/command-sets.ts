import { type CommandEffects, Csi, IoOpcode } from '@nvbraid/wire';
import { COMPARE } from './compare.ts';
import { COPY } from './copy.ts';
import { DATASET_MANAGEMENT } from './dataset-management.ts';
import { FLUSH } from './flush.ts';
import type { IoCommand } from './io-command.ts';
import { READ, WRITE } from './read-write.ts';
import { RESERVATION_COMMANDS } from './reservation-commands.ts';
import { VERIFY } from './verify.ts';
import { WRITE_UNCORRECTABLE } from './write-uncorrectable.ts';
import { WRITE_ZEROES } from './write-zeroes.ts';
import { ZONE_APPEND } from './zone-append.ts';
import { ZONE_MANAGEMENT_RECEIVE } from './zone-management-receive.ts';
import { ZONE_MANAGEMENT_SEND } from './zone-management-send.ts';

/** Rows by opcode. */
export type IoCommandTable = ReadonlyMap<number, IoCommand>;

/** The NVM Command Set. */
export const NVM_COMMANDS: IoCommandTable = new Map([
  ...RESERVATION_COMMANDS,
  [IoOpcode.Flush, FLUSH],
  [IoOpcode.Write, WRITE],
  [IoOpcode.Read, READ],
  [IoOpcode.WriteUncorrectable, WRITE_UNCORRECTABLE],
  [IoOpcode.Compare, COMPARE],
  [IoOpcode.WriteZeroes, WRITE_ZEROES],
  [IoOpcode.DatasetManagement, DATASET_MANAGEMENT],
  [IoOpcode.Verify, VERIFY],
  [IoOpcode.Copy, COPY],
]);

/**
 * The Zoned Namespace Command Set: where blocks go, and what states allow, is the device's business. Marks of Write
 * Uncorrectable would have to follow write pointers, and fused commands do not exist here (ZNS 1.2, 2.1.2).
 */
export const ZONED_COMMANDS: IoCommandTable = new Map([
  ...RESERVATION_COMMANDS,
  [IoOpcode.Flush, FLUSH],
  [IoOpcode.Write, WRITE],
  [IoOpcode.Read, READ],
  [IoOpcode.Compare, COMPARE],
  [IoOpcode.WriteZeroes, WRITE_ZEROES],
  [IoOpcode.DatasetManagement, DATASET_MANAGEMENT],
  [IoOpcode.Verify, VERIFY],
  [IoOpcode.Copy, COPY],
  [IoOpcode.ZoneManagementSend, ZONE_MANAGEMENT_SEND],
  [IoOpcode.ZoneManagementReceive, ZONE_MANAGEMENT_RECEIVE],
  [IoOpcode.ZoneAppend, ZONE_APPEND],
]);

/** What namespaces of each command set can do, by CSI. */
const TABLES: ReadonlyMap<number, IoCommandTable> = new Map([
  [Csi.Nvm, NVM_COMMANDS],
  [Csi.Zoned, ZONED_COMMANDS],
] as [number, IoCommandTable][]);

/** Rows by opcode, as arrays of 256: one load per command. */
const ROWS = new Map([...TABLES].map(([csi, table]) => [csi, rowsOf(table)] as const));
/** Commands of whatever set: what tells an unknown opcode from an unknown namespace. */
export const ANY_ROWS = rowsOf(new Map([...TABLES.values()].flatMap((table) => [...table])));

/** Opcode to row for namespaces of a command set; empty for one that is not supported. */
export type IoCommandRows = readonly (IoCommand | undefined)[];

export function ioCommandRows(csi: number): IoCommandRows {
  return ROWS.get(csi) ?? rowsOf(new Map());
}

/** The effects log's part for I/O commands, by CSI. */
export const IO_EFFECTS: ReadonlyMap<number, ReadonlyMap<number, Partial<CommandEffects>>> = new Map(
  [...TABLES].map(([csi, table]) => [csi, new Map([...table].map(([opcode, { effects }]) => [opcode, effects]))]),
);

function rowsOf(table: IoCommandTable): IoCommandRows {
  return Array.from({ length: 256 }, (_, opcode) => table.get(opcode));
}
