import type { NamespaceIds, ReservationStatus } from '@nvbraid/wire';
import type { BlockRange, DatasetAttributes, ResvAcquire, ResvRegister, ResvRelease } from 'nvbraid';
import type { ZonedSession } from './zoned-session.ts';

/** What the commands of a controller or namespace need, whether by an association of their own or by another process. */
export interface Session {
  /** Who is at the other end, for messages. */
  readonly where: string;
  readonly namespaces: readonly SessionNamespace[];
  /** For namespaces that have zones. */
  readonly zoned: ZonedSession;
  /** The 4096 bytes of Identify Controller. @param device the controller that is meant, as nvme1; default: a live one */
  identifyController(device?: string): Promise<Uint8Array>;
  /** @param bytes at most `LOG_BYTES_MAX`, a multiple of 4 */
  logPage(lid: number, bytes: number, fields: LogFields, device?: string): Promise<Uint8Array>;
  /** @param wide it has 8 bytes, not 4 */
  property(offset: number, wide: boolean, device?: string): Promise<bigint>;
  /** The 4096 bytes of Identify Namespace. */
  identifyNamespace(nsid: number): Promise<Uint8Array>;
  /** Fills the buffer, which is not longer than `chunkBytes`. */
  read(nsid: number, slba: number, buffer: Uint8Array): Promise<void>;
  write(nsid: number, slba: number, buffer: Uint8Array, fua: boolean): Promise<void>;
  flush(nsid: number): Promise<void>;
  compare(nsid: number, slba: number, buffer: Uint8Array): Promise<boolean>;
  verify(nsid: number, slba: number, blocks: number): Promise<void>;
  writeUncorrectable(nsid: number, slba: number, blocks: number): Promise<void>;
  writeZeroes(nsid: number, slba: number, blocks: number, deallocate: boolean, fua: boolean): Promise<void>;
  datasetManagement(nsid: number, ranges: readonly BlockRange[], attributes: DatasetAttributes): Promise<void>;
  copy(nsid: number, ranges: readonly BlockRange[], sdlba: number, fua: boolean): Promise<void>;
  resvRegister(nsid: number, command: ResvRegister): Promise<void>;
  resvAcquire(nsid: number, command: ResvAcquire): Promise<void>;
  resvRelease(nsid: number, command: ResvRelease): Promise<void>;
  /** @param extended asks for host identifiers of 128 bits only */
  resvReport(nsid: number, extended: boolean): Promise<ReservationStatus>;
  close(): Promise<void>;
}

export interface LogFields {
  readonly nsid: number;
  readonly lsp: number;
}

export interface SessionNamespace {
  readonly nsid: number;
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly: boolean;
  readonly uuid: string | null;
}

/** Bytes of one read or write of a session. */
export const CHUNK_BYTES = 1024 * 1024;

/** Bytes of a log page: what goes through a control socket at once. */
export const LOG_BYTES_MAX = 1024 * 1024;

export function uuidOf(ids: NamespaceIds): string | null {
  return ids.uuid ?? null;
}
