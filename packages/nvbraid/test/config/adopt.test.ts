import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { applyConfig, configOf, connectController, createTarget, fileDevice, NvbraidError, type Target } from 'nvbraid';

/* What was made by calls is saved, and comes back as it was. */

const NQN = 'nqn.2026-01.io.nvbraid:adopted';
const HOST = 'nqn.2026-01.io.nvbraid:host';
const MIB = 1 << 20;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-adopt-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const ends: Target[] = [];
afterEach(async () => {
  for (const target of ends.splice(0)) await target.close();
});

async function made(options: Parameters<typeof createTarget>[0] = {}): Promise<Target> {
  const target = await createTarget({ reactors: 0, ...options });
  ends.push(target);
  return target;
}

function state(target: Target) {
  const subsystem = target.core.subsystem(NQN)!;
  return {
    filters: target
      .filters(NQN, 1)
      .list()
      .map(({ name, settings }) => [name, settings]),
    zones: subsystem.namespace(2)!.zones,
    limits: [target.hosts.defaults, [...target.hosts.own]],
    faults: target.faults.list().map(({ rule }) => rule),
    cqtMs: subsystem.cqtMs,
    controllers: subsystem.controllers.limit,
  };
}

async function called(): Promise<Target> {
  const target = await made({ hostDefaults: { queues: 9 }, hosts: { [HOST]: { queues: 3, controllers: 2 } } });
  target.addSubsystem({ nqn: NQN, cqtMs: 4321, maxControllers: 5 });
  const image = (name: string) => fileDevice({ path: join(scratch, name), size: MIB, create: true, blockSize: 4096 });
  await target.addNamespace(NQN, {
    device: image('filtered.img'),
    filters: [
      { kind: 'delay', write: '1ms', seed: 3 },
      { kind: 'error', name: 'broken', ops: 'read', enabled: false, seed: 7 },
    ],
  });
  await target.addNamespace(NQN, {
    device: image('zoned.img'),
    filters: [{ kind: 'stats' }],
    zoned: { zoneSize: 65536, zoneCapacity: 32768, maxOpen: 3, maxActive: 4 },
  });
  target.faults.add({ action: 'delay', time: '1ms', pdu: 'R2T', seed: 5 });
  await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  return target;
}

test('filters, zones, limits of hosts, faults, CQT and the number of controllers are saved and come back', async () => {
  const target = await called();
  const before = state(target);
  const text = configOf(target).text();
  await target.close();
  const again = await made();
  await applyConfig(again, text);
  assert.deepEqual(state(again), before);
  assert.equal(configOf(again).text(), text);
  await applyConfig(again, { hosts: [], ports: [], subsystems: [] });
  assert.deepEqual([again.faults.list(), again.hosts.defaults, [...again.hosts.own]], [[], {}, []]);
});

test('faults that were there when the tree was made are replaced by those that it is told', async () => {
  const target = await called();
  const config = configOf(target);
  const fault = { action: 'drop', pdu: 'R2T', seed: 1 };
  await config.edit([{ op: 'set', path: '/', attribute: 'nvbraid_faults', value: JSON.stringify([fault]) }]);
  assert.deepEqual(
    target.faults.list().map(({ rule }) => rule.action),
    ['drop'],
  );
});

test('what does not change while a namespace is in service, or hosts know it, says what to do', async () => {
  const target = await called();
  const config = configOf(target);
  const refuses = (path: string, attribute: string, value: string, code: string, sentence: RegExp) =>
    assert.rejects(
      config.edit([{ op: 'set', path, attribute, value }]),
      (error) => error instanceof NvbraidError && error.code === code && sentence.test(error.message),
    );
  const subsystem = `/subsystems/${NQN}`;
  const hint = /set enable=0.*nvbraid filter set/;
  await refuses(`${subsystem}/namespaces/1`, 'nvbraid_filters', '[]', 'EBUSY', hint);
  await refuses(subsystem, 'nvbraid_cqt_ms', '65536', 'EINVAL', /nvbraid_cqt_ms/);
  await refuses(subsystem, 'nvbraid_max_controllers', '0', 'EINVAL', /nvbraid_max_controllers/);
  await config.edit([{ op: 'set', path: subsystem, attribute: 'nvbraid_max_controllers', value: '1' }]);
  const [port] = [...target.core.ports];
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port!.trsvcid, nqn: NQN, hostnqn: HOST });
  await refuses(subsystem, 'nvbraid_cqt_ms', '99', 'EINVAL', /hosts have seen it/);
  await assert.rejects(connectController({ traddr: '127.0.0.1', trsvcid: port!.trsvcid, nqn: NQN, ctrlLossTmo: 0 }));
  await host.disconnect();
});
