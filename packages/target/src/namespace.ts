import { NvbraidError } from '@nvbraid/base';
import type { ZoneGeometry } from '@nvbraid/blockdev';
import { Csi } from '@nvbraid/wire';
import { MAX_ANA_GROUPS, MAX_NAMESPACE_HOSTS, MAX_NAMESPACES } from './limits.ts';
import { checkNqn } from './nqn.ts';
import { NamespaceReservations, type ReservationOptions } from './reservations/namespace-reservations.ts';

export interface NamespaceOptions {
  /** 1 … MAX_NAMESPACES; the lowest that is free when absent. */
  readonly nsid?: number;
  /** How threads open the device. The control plane copies it into snapshots and looks at it no further. */
  readonly device: unknown;
  /** Bytes per logical block, a power of two from 512. */
  readonly blockSize: number;
  readonly blockCount: number;
  /** By default made from the subsystem's NQN and the nsid, so that it survives a restart. */
  readonly uuid?: string;
  /** 32 hexadecimal digits, dashes allowed. */
  readonly nguid?: string;
  /** 16 hexadecimal digits. */
  readonly eui64?: string;
  readonly readOnly?: boolean;
  readonly thin?: boolean;
  readonly volatileWriteCache?: boolean;
  /** Its blocks can be marked uncorrectable. Default false. */
  readonly writeUncorrectable?: boolean;
  /** How the device is cut into zones: makes it a zoned namespace. */
  readonly zones?: ZoneGeometry;
  /** The device knows CompareAndWrite. Default false. */
  readonly compareAndWrite?: boolean;
  /** 1 … MAX_ANA_GROUPS, default 1. */
  readonly anaGroupId?: number;
  /** Default true. */
  readonly enabled?: boolean;
  /** NQNs of the hosts that see it; null, which is the default, for all. */
  readonly hosts?: readonly string[] | null;
  /** False: hosts cannot register. Default: they can, and what they hold ends with the process. */
  readonly reservations?: ReservationOptions | false;
  /** A host has write protected it before: where that is kept, and the UUID of which namespace. Absent: it is not protected. */
  readonly protection?: { readonly place: string; readonly uuid: string };
}

/** Values of the Namespace Write Protection feature (Base 2.1, 5.1.25.1.32). */
export const WriteProtection = { None: 0, Protected: 1, UntilPowerCycle: 2, Permanent: 3 } as const;

/** A namespace as hosts see it. Changed only by its subsystem, which tells the controllers. */
export class Namespace {
  readonly nsid: number;
  /** Never used twice within a target: see NamespaceSnapshot. */
  readonly instance: number;
  device: unknown;
  readonly blockSize: number;
  blockCount: number;
  readonly uuid: string;
  readonly nguid: Uint8Array | null;
  readonly eui64: Uint8Array | null;
  readOnly: boolean;
  readonly thin: boolean;
  readonly volatileWriteCache: boolean;
  readonly compareAndWrite: boolean;
  readonly writeUncorrectable: boolean;
  readonly zones: ZoneGeometry | null;
  anaGroupId: number;
  enabled: boolean;
  hosts: ReadonlySet<string> | null;
  /** What the Namespace Write Protection feature was set to: 0 not protected. */
  writeProtection: number;
  /** Null where hosts cannot register. */
  readonly reservations: NamespaceReservations | null;

  /** @throws NvbraidError EINVAL */
  constructor(nqn: string, nsid: number, instance: number, options: NamespaceOptions) {
    const { blockSize, blockCount } = options;
    refuseUnless(Number.isInteger(nsid) && nsid >= 1 && nsid <= MAX_NAMESPACES, `nsid is 1 to ${MAX_NAMESPACES}`, nsid);
    refuseUnless(
      Number.isInteger(blockSize) && blockSize >= 512 && blockSize <= 65536 && (blockSize & (blockSize - 1)) === 0,
      'block size is a power of two from 512 to 65536',
      blockSize,
    );
    checkBlockCount(blockCount, blockSize);
    this.nsid = nsid;
    this.instance = instance;
    this.device = options.device;
    this.blockSize = blockSize;
    this.blockCount = blockCount;
    this.uuid = options.uuid ?? derivedUuid(`${nqn}/${nsid}`);
    refuseUnless(isUuid(this.uuid), 'uuid is not a UUID, or nil', this.uuid);
    this.nguid = options.nguid === undefined ? null : identifier(options.nguid, 16, 'nguid');
    this.eui64 = options.eui64 === undefined ? null : identifier(options.eui64, 8, 'eui64');
    this.readOnly = options.readOnly ?? false;
    this.thin = options.thin ?? false;
    this.writeUncorrectable = options.writeUncorrectable ?? false;
    this.zones = options.zones ?? null;
    this.compareAndWrite = options.compareAndWrite ?? false;
    this.volatileWriteCache = options.volatileWriteCache ?? false;
    this.anaGroupId = checkAnaGroupId(options.anaGroupId ?? 1);
    this.enabled = options.enabled ?? true;
    this.hosts = checkHosts(options.hosts ?? null);
    this.writeProtection = restoredProtection(this.uuid, options.protection);
    const { reservations = {} } = options;
    this.reservations = reservations === false ? null : new NamespaceReservations(this, reservations);
  }

  /** Its I/O command set. */
  get csi(): number {
    return this.zones === null ? Csi.Nvm : Csi.Zoned;
  }

  /** Writes are refused, for whichever reason. */
  get writeProtected(): boolean {
    return this.readOnly || this.writeProtection !== 0;
  }

  visibleTo(hostnqn: string): boolean {
    return this.hosts === null || this.hosts.has(hostnqn);
  }
}

/** @throws NvbraidError EINVAL when it was another namespace that was protected */
function restoredProtection(uuid: string, protection: NamespaceOptions['protection']): number {
  if (protection === undefined) return WriteProtection.None;
  if (protection.uuid.toLowerCase() === uuid.toLowerCase()) return WriteProtection.Protected;
  throw new NvbraidError(
    'EINVAL',
    `${protection.place} keeps the write protection of the namespace with UUID ${protection.uuid}, not of ${uuid}: give the namespace that UUID, or delete the file to start without write protection`,
  );
}

/** @throws NvbraidError EINVAL */
export function checkAnaGroupId(grpid: number): number {
  const ok = Number.isInteger(grpid) && grpid >= 1 && grpid <= MAX_ANA_GROUPS;
  refuseUnless(ok, `ANA group is 1 to ${MAX_ANA_GROUPS}`, grpid);
  return grpid;
}

/** @throws NvbraidError EINVAL */
export function checkHosts(hosts: readonly string[] | null): ReadonlySet<string> | null {
  if (hosts === null) return null;
  const set = new Set(hosts);
  refuseUnless(set.size <= MAX_NAMESPACE_HOSTS, `a namespace lists at most ${MAX_NAMESPACE_HOSTS} hosts`, set.size);
  for (const hostnqn of set) checkNqn(hostnqn, 'host NQN');
  return set;
}

/** @throws NvbraidError EINVAL */
export function checkBlockCount(blockCount: number, blockSize: number): void {
  const ok = Number.isSafeInteger(blockCount) && blockCount >= 1 && Number.isSafeInteger(blockCount * blockSize);
  refuseUnless(ok, 'a namespace has at least one block and less than 2^53 bytes', blockCount);
}

function refuseUnless(ok: boolean, message: string, value: string | number): void {
  if (!ok) throw new NvbraidError('EINVAL', `${message}: ${value}`);
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(text) && !/^[0-]+$/.test(text);
}

function identifier(text: string, bytes: number, what: string): Uint8Array {
  const hex = text.replaceAll('-', '');
  const ok = hex.length === 2 * bytes && /^[0-9a-f]+$/i.test(hex) && !/^0+$/.test(hex);
  refuseUnless(ok, `${what} is ${2 * bytes} hexadecimal digits, not all zero`, text);
  return Uint8Array.from({ length: bytes }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** Sixteen bytes that depend on every character of `text`: for identifiers that must be stable, not for secrets. */
export function digest128(text: string): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  for (let lane = 0; lane < 4; lane++) {
    let h = Math.imul(lane + 1, 0x9e3779b1);
    for (let i = 0; i < text.length; i++) {
      h = Math.imul(h ^ text.charCodeAt(i), 0x85ebca6b);
      h = (h << 13) | (h >>> 19);
    }
    h ^= h >>> 16;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 15;
    view.setUint32(4 * lane, h >>> 0);
  }
  return out;
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** A UUID of version 8 (RFC 9562, 5.8) made from a name. */
export function derivedUuid(name: string): string {
  const bytes = digest128(name);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = hexOf(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
