import { networkInterfaces } from 'node:os';
import { Memory } from '@nvbraid/base';
import { addressOf, libc } from '../libc.ts';
import type { Subflow } from '../subflow.ts';
import { AF_INET, AF_INET6, IPPROTO_TCP, SOCK_CLOEXEC } from '../tcp/constants.ts';
import { packAddress } from '../tcp/sockaddr.ts';
import { NLMSG_HEADER_BYTES, parseBackup, SOCK_DIAG_BY_FAMILY } from './parse-diag.ts';

/*
 * The flags of a subflow are shown by sock_diag(7) alone, which finds it by its addresses, ports and device:
 * struct inet_diag_req_v2    family u8 | protocol u8 | ext u8 | padding u8 | states u32 |
 *                            sport be16 | dport be16 | src 16 | dst 16 | if u32 | cookie 8
 */

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const NLM_F_REQUEST = 1;
const MSG_DONTWAIT = 0x40;
const REQUEST_BYTES = NLMSG_HEADER_BYTES + 56;
/** 1 << (INET_DIAG_INFO - 1): without it nothing is said of what lies on top of TCP. */
const WITH_INFO = 2;
const ANY_STATE = 0xffffffff;
const ANSWER_BYTES = 8192;

let request: Memory | null = null;
let answer: Memory | null = null;

/** Which of them are backups; null where the kernel does not say. */
export function backupFlags(subflows: readonly Subflow[]): (boolean | null)[] {
  if (subflows.length === 0) return [];
  const c = libc();
  const fd = c.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return subflows.map(() => null);
  try {
    return subflows.map((subflow) => ask(fd, subflow));
  } finally {
    c.close(fd);
  }
}

/** The device that worked last for a local address: to list those that have it takes longer than to ask. */
const devices = new Map<string, number>();
const DEVICES_KEPT = 64;

/** The device is a part of the name of a socket that is bound to one, as those of endpoints with a device are. */
function ask(fd: number, subflow: Subflow): boolean | null {
  const { address } = subflow.local;
  const known = devices.get(address);
  for (const device of known === undefined ? [0] : [known, 0]) {
    const backup = askByDevice(fd, subflow, device);
    if (backup !== null) return backup;
  }
  for (const device of devicesOf(address)) {
    const backup = askByDevice(fd, subflow, device);
    if (backup === null) continue;
    if (devices.size >= DEVICES_KEPT) devices.clear();
    devices.set(address, device);
    return backup;
  }
  return null;
}

function askByDevice(fd: number, { local, remote }: Subflow, device: number): boolean | null {
  request ??= Memory.alloc(REQUEST_BYTES);
  answer ??= Memory.alloc(ANSWER_BYTES);
  const { view, bytes } = request;
  bytes.fill(0);
  view.setUint32(0, REQUEST_BYTES, true);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(6, NLM_F_REQUEST, true);
  const at = NLMSG_HEADER_BYTES;
  view.setUint8(at, local.family === 'ipv6' ? AF_INET6 : AF_INET);
  view.setUint8(at + 1, IPPROTO_TCP);
  view.setUint8(at + 2, WITH_INFO);
  view.setUint32(at + 4, ANY_STATE, true);
  view.setUint16(at + 8, local.port);
  view.setUint16(at + 10, remote.port);
  if (!packAddress(local.address, request, at + 12) || !packAddress(remote.address, request, at + 28)) return null;
  view.setUint32(at + 44, device, true);
  bytes.fill(0xff, at + 48, at + 56); // any cookie
  const c = libc();
  if (c.send(fd, addressOf(request), REQUEST_BYTES, MSG_DONTWAIT) !== REQUEST_BYTES) return null;
  const length = c.recv(fd, addressOf(answer), ANSWER_BYTES, MSG_DONTWAIT);
  return length < 0 ? null : parseBackup(answer.view, length);
}

/** Numbers of the devices that have an address. */
function devicesOf(address: string): number[] {
  const plain = address.replace(/%.*$/, '').replace(/^::ffff:(?=.*\.)/, '');
  return Object.entries(networkInterfaces())
    .filter(([, addresses]) => addresses?.some((one) => one.address === plain))
    .map(([name]) => libc().if_nametoindex(name))
    .filter((index) => index !== 0);
}
