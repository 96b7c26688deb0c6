import { NvbraidError } from '@nvbraid/base';
import { loop } from './loop/loop-transport.ts';
import { mptcp } from './mptcp/mptcp-ops.ts';
import { net } from './net/net-transport.ts';
import { tcp } from './tcp/socket-transport.ts';
import type { Transport } from './transport.ts';

/** Every transport by its name. Another row is another line here. */
export const transports: Readonly<Record<string, Transport>> = { tcp, mptcp, net, loop };

/** The row called `name`. @throws NvbraidError EINVAL for a name that is not in the table */
export function transportRow(name: string): Transport {
  const row = Object.hasOwn(transports, name) ? transports[name] : undefined;
  if (row !== undefined) return row;
  throw new NvbraidError('EINVAL', `unknown transport '${name}': use one of ${Object.keys(transports).join(', ')}`);
}

/** The same, able to work here. @throws NvbraidError EINVAL, ENOTSUP where the row does not work */
export function transport(name: string): Transport {
  const row = transportRow(name);
  const reason = row.unsupported();
  if (reason !== null) throw new NvbraidError('ENOTSUP', `transport '${name}' does not work here: ${reason}`);
  return row;
}
