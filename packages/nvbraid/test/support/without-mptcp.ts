import type { NvbraidError } from '@nvbraid/base';
import { memoryDevice } from '@nvbraid/blockdev';
import { configOf, connectController, createTarget } from '../../src/index.ts';

/* Runs where the kernel has Multipath TCP switched off, and prints what becomes of those who ask for it. */

const nqn = 'nqn.2026-01.io.nvbraid:test:without-mptcp';

async function refusal(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return 'worked';
  } catch (error) {
    const { code, message } = error as NvbraidError;
    return [code, message];
  }
}

const target = await createTarget({ reactors: 1 });
target.addSubsystem({ nqn });
await target.addNamespace(nqn, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
const listen = await refusal(target.listen({ transport: 'mptcp', address: '127.0.0.1', port: 0 }));
const path = '/ports/7';
const set = (attribute: string, value: string) => ({ op: 'set', path, attribute, value }) as const;
const config = await refusal(
  configOf(target).edit([
    { op: 'create', path },
    set('addr_trtype', 'mptcp'),
    set('addr_adrfam', 'ipv4'),
    set('addr_traddr', '127.0.0.1'),
    set('addr_trsvcid', '0'),
    { op: 'create', path: `${path}/subsystems/${nqn}` },
  ]),
);
const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [nqn] });
const at = { traddr: '127.0.0.1', trsvcid: port, nqn };
const connect = await refusal(connectController({ ...at, transport: 'mptcp' }));
const controller = await connectController(at);
console.log(JSON.stringify({ listen, connect, config, tcp: controller.state }));
await controller.disconnect();
await target.close();
