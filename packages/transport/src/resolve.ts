import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { nodeErrorCode, systemError } from './errors.ts';

/**
 * The numeric addresses of a name, in the order of the system's resolver; a numeric address is its own.
 * @param doing for the error's sentence: what could not be done
 * @throws NvbraidError EINVAL for an unknown name, EHOSTUNREACH when no name server answers
 */
export async function resolveAddress(address: string, doing: string): Promise<string[]> {
  if (isIP(address) !== 0) return [address];
  try {
    return (await lookup(address, { all: true })).map((found) => found.address);
  } catch (cause) {
    throw systemError(nodeErrorCode(cause), doing, { cause });
  }
}

/** @throws NvbraidError EINVAL */
export function checkPort(port: number, doing: string): void {
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new NvbraidError('EINVAL', `${doing}: a port is a number from 0 to 65535`);
  }
}
