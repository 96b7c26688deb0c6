import { isIPv4, isIPv6 } from 'node:net';
import { Memory } from '@nvbraid/base';
import { addressOf, libc } from '../libc.ts';
import type { Endpoint } from '../transport.ts';
import { AF_INET, AF_INET6 } from './constants.ts';

/*
 * struct sockaddr_in    family u16 | port be16 | address 4 | zero 8
 * struct sockaddr_in6   family u16 | port be16 | flow be32 | address 16 | scope u32
 */
const IN_SIZE = 16;
const IN6_SIZE = 28;
const PORT = 2;
const IN_ADDRESS = 4;
const IN6_ADDRESS = 8;
const IN6_SCOPE = 24;
const TEXT_SIZE = 64;

/** One address of the sockets interface, reused for every call of a thread. */
class SocketAddress {
  readonly memory = Memory.alloc(128);
  readonly lengthMemory = Memory.alloc(4);
  readonly #text = Memory.alloc(TEXT_SIZE);

  get address(): number {
    return addressOf(this.memory);
  }

  get lengthAddress(): number {
    return addressOf(this.lengthMemory);
  }

  /** Size of what `pack` wrote. */
  get length(): number {
    return this.lengthMemory.view.getUint32(0, true);
  }

  /** To be called before the system fills in an address. */
  prepare(): void {
    this.memory.bytes.fill(0);
    this.lengthMemory.view.setUint32(0, this.memory.length, true);
  }

  /** @param address numeric; IPv6 may carry a zone, `fe80::1%eth0`. False when it is not an address. */
  pack(address: string, port: number): boolean {
    const { view } = this.memory;
    this.memory.bytes.fill(0);
    view.setUint16(PORT, port);
    const c = libc();
    if (isIPv4(address)) {
      view.setUint16(0, AF_INET, true);
      this.lengthMemory.view.setUint32(0, IN_SIZE, true);
      return c.inet_pton(AF_INET, address, this.address + IN_ADDRESS) === 1;
    }
    if (!isIPv6(address)) return false;
    const [host, zone] = address.split('%') as [string, string | undefined];
    view.setUint16(0, AF_INET6, true);
    this.lengthMemory.view.setUint32(0, IN6_SIZE, true);
    if (zone !== undefined) {
      const scope = /^\d+$/.test(zone) ? Number(zone) : c.if_nametoindex(zone);
      if (scope === 0) return false;
      view.setUint32(IN6_SCOPE, scope, true);
    }
    return c.inet_pton(AF_INET6, host, this.address + IN6_ADDRESS) === 1;
  }

  unpack(): Endpoint {
    const { view } = this.memory;
    const ipv6 = view.getUint16(0, true) === AF_INET6;
    const scope = ipv6 ? view.getUint32(IN6_SCOPE, true) : 0;
    return {
      address: this.#format(ipv6) + (scope === 0 ? '' : `%${scope}`),
      port: view.getUint16(PORT),
      family: ipv6 ? 'ipv6' : 'ipv4',
    };
  }

  #format(ipv6: boolean): string {
    const text = this.#text;
    text.bytes.fill(0);
    libc().inet_ntop(
      ipv6 ? AF_INET6 : AF_INET,
      this.address + (ipv6 ? IN6_ADDRESS : IN_ADDRESS),
      addressOf(text),
      TEXT_SIZE,
    );
    return String.fromCharCode(...text.bytes.subarray(0, text.bytes.indexOf(0)));
  }
}

export const socketAddress = new SocketAddress();

/** The address in a struct sockaddr_in or sockaddr_in6, 28 bytes of which are there. */
export function unpackEndpoint(view: DataView, at: number): Endpoint {
  socketAddress.memory.bytes.set(new Uint8Array(view.buffer, view.byteOffset + at, IN6_SIZE));
  return socketAddress.unpack();
}

/** The bytes of a numeric address alone, 4 or 16 of them. False when it is not an address. */
export function packAddress(address: string, to: Memory, at: number): boolean {
  if (!socketAddress.pack(address, 0)) return false;
  const ipv6 = socketAddress.length === IN6_SIZE;
  const from = ipv6 ? IN6_ADDRESS : IN_ADDRESS;
  to.bytes.set(socketAddress.memory.bytes.subarray(from, from + (ipv6 ? 16 : 4)), at);
  return true;
}

/** What `getsockname` says. */
export function localEndpoint(fd: number): Endpoint {
  socketAddress.prepare();
  libc().getsockname(fd, socketAddress.address, socketAddress.lengthAddress);
  return socketAddress.unpack();
}

/** What `getpeername` says; `0.0.0.0:0` when the peer is gone already. */
export function remoteEndpoint(fd: number): Endpoint {
  socketAddress.prepare();
  libc().getpeername(fd, socketAddress.address, socketAddress.lengthAddress);
  return socketAddress.unpack();
}
