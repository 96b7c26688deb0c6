import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { AsyncEventNotice, DISCOVERY_NQN, Subtype } from '@nvbraid/wire';
import { connectController } from '../src/connect.ts';
import { discover, readDiscoveryLog } from '../src/discover.ts';
import { createTarget } from '../src/target.ts';

const NQN = 'nqn.2014-08.org.nvmexpress:uuid:0a5a4f2e-6c06-4bd4-8a39-d2b2a4c4e4a1';
const target = await createTarget({ reactors: 0 });
target.addSubsystem({ nqn: NQN });
await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: 512 }) });
const port = await target.listen({ transport: 'net', address: '127.0.0.1', port: 0, subsystems: [NQN] });
const options = { transport: 'net', traddr: '127.0.0.1', trsvcid: port.port };
after(() => target.close());

test('discover: the log of a port, and nothing is left behind', async () => {
  const { genctr, records } = await discover(options);
  assert.ok(genctr > 0);
  assert.deepEqual(
    records.map(({ subtype, subnqn, traddr, trsvcid }) => ({ subtype, subnqn, traddr, trsvcid })),
    [
      { subtype: Subtype.CurrentDiscovery, subnqn: DISCOVERY_NQN, traddr: '127.0.0.1', trsvcid: String(port.port) },
      { subtype: Subtype.Nvme, subnqn: NQN, traddr: '127.0.0.1', trsvcid: String(port.port) },
    ],
  );
  while (target.stats().controllers > 0) await new Promise((resolve) => setTimeout(resolve, 2));
});

test('a log longer than one command reads', async () => {
  for (let i = 0; i < 20; i++) {
    target.addSubsystem({ nqn: `nqn.2014-08.org.example:${i}` });
    await target.link(port.portid, `nqn.2014-08.org.example:${i}`);
  }
  const { records } = await discover(options);
  assert.equal(records.length, 22);
  assert.equal(new Set(records.map((record) => record.subnqn)).size, 22);
});

test('a persistent discovery controller hears of changes', async () => {
  const controller = await connectController({ ...options, nqn: DISCOVERY_NQN, keepAliveTmo: 30 });
  assert.equal(controller.nrIoQueues, 0);
  const before = await readDiscoveryLog(controller);
  const event = once(controller, 'aen');
  target.addSubsystem({ nqn: 'nqn.2014-08.org.example:late' });
  await target.link(port.portid, 'nqn.2014-08.org.example:late');
  const [{ info }] = await event;
  assert.equal(info, AsyncEventNotice.DiscoveryLogPageChange);
  const later = await readDiscoveryLog(controller);
  assert.ok(later.genctr > before.genctr);
  assert.equal(later.records.length, before.records.length + 1);
  await controller.disconnect();
});

test('nobody there', async () => {
  await assert.rejects(discover({ ...options, trsvcid: 1 }), { code: 'ECONNREFUSED' });
});
