import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { AdminOpcode, Fid, Status } from '@nvbraid/wire';
import {
  applyConfig,
  connectController,
  createTarget,
  fileDevice,
  type HostController,
  memoryDevice,
  NvbraidError,
  NvmeError,
  type Target,
} from 'nvbraid';

/* Namespace Write Protection outlives the target: it lies beside the file. */

const NQN = 'nqn.2026-01.org.nvbraid:protected';
const BLOCK = 4096;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-protection-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const ends: (() => Promise<unknown>)[] = [];
const end = async (): Promise<void> => {
  for (const close of ends.splice(0).reverse()) await close();
};
afterEach(end);

interface Served {
  readonly target: Target;
  readonly host: HostController;
  readonly logged: string[];
}

async function serve(path: string | null, reactors = 1, more: object = {}): Promise<Served> {
  const target = await createTarget({ reactors });
  ends.push(() => target.close());
  const logged: string[] = [];
  target.on('log', (message) => logged.push(message));
  target.addSubsystem({ nqn: NQN });
  const size = 64 * BLOCK;
  const device = path === null ? memoryDevice({ size }) : fileDevice({ path, size, create: true, blockSize: BLOCK });
  await target.addNamespace(NQN, { device, ...more });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  return { target, logged, host: await attach(port) };
}

async function attach(port: number): Promise<HostController> {
  const host = await connectController({ traddr: '127.0.0.1', trsvcid: port, nqn: NQN });
  ends.push(() => host.disconnect());
  return host;
}

async function protect(host: HostController, state: number): Promise<number> {
  const sqe = { opc: AdminOpcode.SetFeatures, nsid: 1, cdw10: Fid.NamespaceWriteProtection, cdw11: state };
  return (await host.admin(sqe)).status & 0x7ff;
}

async function protection(host: HostController): Promise<number> {
  return (await host.admin({ opc: AdminOpcode.GetFeatures, nsid: 1, cdw10: Fid.NamespaceWriteProtection })).dw0;
}

const status = (expected: number) => (error: unknown) =>
  error instanceof NvmeError && (error.status & 0x7ff) === expected;
const refused = (code: string, sentence: RegExp) => (error: unknown) =>
  error instanceof NvbraidError && error.code === code && sentence.test(error.message);
const write = (host: HostController): Promise<void> => host.namespace(1).write(0, Buffer.alloc(BLOCK, 1));

for (const reactors of [0, 1]) {
  test(`write protection survives a restart, until power cycle does not, ${reactors} reactors`, async () => {
    const path = join(scratch, `restart-${reactors}.img`);
    let { host } = await serve(path, reactors);
    await write(host);
    assert.equal(existsSync(`${path}.nvbraid/protection`), false, 'nothing is kept before there is something to keep');
    assert.equal(await protect(host, 1), 0);
    const kept = readFileSync(`${path}.nvbraid/protection`, 'utf8');
    assert.match(kept, /"protected":true/);
    await end();
    ({ host } = await serve(path, reactors));
    assert.equal(await protection(host), 1);
    await assert.rejects(write(host), status(Status.NamespaceIsWriteProtected));
    assert.equal(await protect(host, 0), 0);
    await write(host);
    await end();
    ({ host } = await serve(path, reactors));
    assert.equal(await protection(host), 0);
    await write(host);
    assert.equal(await protect(host, 1), 0);
    assert.equal(await protect(host, 2), 0);
    await end();
    ({ host } = await serve(path, reactors));
    assert.equal(await protection(host), 0, 'the power cycle is over');
    await write(host);
  });
}

test('write protection that is damaged, or of another namespace, keeps the namespace out of service and says the way out', async () => {
  const path = join(scratch, 'damaged.img');
  const place = `${path}.nvbraid/protection`;
  const { host } = await serve(path);
  assert.equal(await protect(host, 1), 0);
  await end();
  const good = readFileSync(place, 'utf8');
  await assert.rejects(
    serve(path, 1, { uuid: '00000000-0000-4000-8000-000000000001' }),
    refused(
      'EINVAL',
      /keeps the write protection of the namespace with UUID .*give the namespace that UUID, or delete/,
    ),
  );
  await end();
  for (const bad of [good.slice(0, 20), good.replace('true', 'false'), '{}', '', 'x'.repeat(5000)]) {
    writeFileSync(place, bad);
    await assert.rejects(serve(path), refused('EINVAL', /protection is damaged.*or delete it to start without/));
    await end();
  }
  rmSync(place);
  await write((await serve(path)).host);
});

test('write protection that cannot be kept does not happen', async () => {
  const path = join(scratch, 'full.img');
  const { host, logged } = await serve(path);
  // A file where the directory has to be: also root cannot write into it.
  writeFileSync(`${path}.nvbraid`, '');
  assert.equal(await protect(host, 1), Status.InternalError);
  assert.match(logged.join(), /write protection of namespace 1 stays as it was/);
  await write(host);
  rmSync(`${path}.nvbraid`);
  mkdirSync(`${path}.nvbraid`);
  chmodSync(`${path}.nvbraid`, 0o700);
  assert.equal(await protect(host, 1), 0);
  await assert.rejects(write(host), status(Status.NamespaceIsWriteProtected));
});

test('in memory write protection ends with the process, which is said', async () => {
  const { host, logged } = await serve(null);
  assert.equal(await protect(host, 1), 0);
  assert.match(logged.join(), /write protection of namespace 1 ends with this process/);
});

test('a namespace that comes by configuration is as protected as it was', async () => {
  const path = join(scratch, 'configured.img');
  const { host, target } = await serve(path);
  assert.equal(await protect(host, 1), 0);
  const { uuid } = target.core.subsystem(NQN)!.namespace(1)!;
  await end();
  const again = await createTarget({ reactors: 0 });
  ends.push(() => again.close());
  const namespace = { device: { path, uuid }, enable: 1, nsid: 1 };
  const attr = { allow_any_host: '1' };
  const addr = { adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '0', trtype: 'tcp' };
  const config = {
    hosts: [],
    ports: [{ addr, portid: 1, subsystems: [NQN] }],
    subsystems: [{ attr, namespaces: [namespace], nqn: NQN }],
  };
  await applyConfig(again, JSON.stringify(config));
  const other = await attach(Number([...again.core.ports][0]!.trsvcid));
  assert.equal(await protection(other), 1);
  await assert.rejects(write(other), status(Status.NamespaceIsWriteProtected));
});
