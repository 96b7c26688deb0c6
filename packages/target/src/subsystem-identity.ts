import { NvbraidError } from '@nvbraid/base';
import { nvmeVersion } from '@nvbraid/wire';
import { DEFAULT_FIRMWARE, FIRMWARE_BYTES, MODEL_BYTES, SERIAL_BYTES } from './limits.ts';
import { digest128, hexOf } from './namespace.ts';

/** What a subsystem tells of itself in Identify Controller. Two targets that serve it together must tell the same. */
export interface IdentityOptions {
  /** Up to 20 ASCII characters; made from the NQN when absent. */
  readonly serial?: string;
  /** Up to 40 ASCII characters. */
  readonly model?: string;
  /** Up to 8 ASCII characters. */
  readonly firmware?: string;
  /** IEEE Organizationally Unique Identifier, 24 bits. Default 0. */
  readonly ieeeOui?: number;
  /** `major.minor` or `major.minor.tertiary`, 1.2.1 … 2.1: VS and VER. Default 2.1. */
  readonly version?: string;
  /** PCI vendor and subsystem vendor identifier, 16 bits. Default 0. */
  readonly vendorId?: number;
  readonly subsystemVendorId?: number;
}

export interface SubsystemIdentity {
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly ieeeOui: number;
  /** As VS has it. */
  readonly version: number;
  readonly vendorId: number;
  readonly subsystemVendorId: number;
}

/**
 * The newest version that VS and Identify tell. 2.1 is claimed because everything that it makes mandatory for its kind of
 * controller is there: log pages 00h and 12h beside the older ones, command set independent Identify, the ready timeouts
 * property, and the mandatory features, which are honest constants where there is nothing to set.
 */
export const VERSION = nvmeVersion(2, 1);
/** NVMe over Fabrics came with this one. */
const OLDEST_VERSION = nvmeVersion(1, 2, 1);

/** @throws NvbraidError EINVAL */
export function identityOf(nqn: string, options: IdentityOptions): SubsystemIdentity {
  const { ieeeOui = 0, vendorId = 0, subsystemVendorId = 0 } = options;
  const serial = options.serial ?? hexOf(digest128(nqn)).slice(0, SERIAL_BYTES);
  const model = options.model ?? 'nvbraid';
  const firmware = options.firmware ?? DEFAULT_FIRMWARE;
  checkText(serial, SERIAL_BYTES, 'serial number');
  checkText(model, MODEL_BYTES, 'model number');
  checkText(firmware, FIRMWARE_BYTES, 'firmware revision');
  checkNumber(ieeeOui, 0xff_ffff, 'IEEE OUI');
  checkNumber(vendorId, 0xffff, 'vendor identifier');
  checkNumber(subsystemVendorId, 0xffff, 'subsystem vendor identifier');
  const version = options.version === undefined ? VERSION : versionOf(options.version);
  return { serial, model, firmware, ieeeOui, version, vendorId, subsystemVendorId };
}

/** `1.4` or `1.2.1` as VS has it. @throws NvbraidError EINVAL */
export function versionOf(text: string): number {
  const match = /^(\d{1,5})\.(\d{1,3})(?:\.(\d{1,3}))?$/.exec(text);
  const [major, minor, tertiary] = (match ?? []).slice(1).map((part) => Number(part ?? 0)) as [number, number, number];
  if (match !== null && major <= 0xffff && minor <= 0xff && tertiary <= 0xff) {
    const version = nvmeVersion(major, minor, tertiary);
    if (version >= OLDEST_VERSION && version <= VERSION) return version;
  }
  throw new NvbraidError('EINVAL', `version is major.minor or major.minor.tertiary, from 1.2.1 to 2.1: ${text}`);
}

/** As `versionOf` reads it. */
export function versionText(version: number): string {
  const parts = [version >>> 16, (version >>> 8) & 0xff, version & 0xff];
  return (parts[2] === 0 ? parts.slice(0, 2) : parts).join('.');
}

function checkText(text: string, bytes: number, what: string): void {
  if (text.length > bytes || !/^[\x20-\x7e]*$/.test(text)) {
    throw new NvbraidError(
      'EINVAL',
      `${what} is more than ${bytes} printable ASCII characters: ${JSON.stringify(text)}`,
    );
  }
}

function checkNumber(value: number, max: number, what: string): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= max)) {
    throw new NvbraidError('EINVAL', `${what} is 0 to ${max}: ${value}`);
  }
}
