import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { transports } from '@nvbraid/transport';
import {
  applyConfig,
  configOf,
  connectController,
  createTarget,
  discover,
  fileDevice,
  type HostController,
  memoryDevice,
  NvbraidError,
  NvmeError,
  parseConfig,
  type Target,
} from 'nvbraid';

/* The tree applied to targets that run, with hosts that are connected: without and with reactors. */

const NQN = 'nqn.2026-01.io.nvbraid:config';
const HOST = 'nqn.2026-01.io.nvbraid:host';
const MIB = 1 << 20;
const BLOCK = 4096;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-config-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

function image(name: string, size = MIB): string {
  const path = join(scratch, name);
  if (existsSync(path)) return path; // it may be served at the moment
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}

interface Wishes {
  readonly path?: string;
  readonly port?: number | string;
  readonly nqn?: string;
}

const ends: (() => Promise<unknown>)[] = [];
/** Also of a test that has failed: the next one wants the same files. */
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function started(reactors: number): Promise<Target> {
  const target = await createTarget({ reactors });
  ends.push(() => target.close());
  return target;
}

/** As nvmetcli writes it: one subsystem with one namespace in a file, one port on a number that is free. */
function config({ path = image('one.img'), port = 0, nqn = NQN }: Wishes = {}) {
  return {
    hosts: [] as object[],
    ports: [
      {
        addr: { adrfam: 'ipv4', traddr: '127.0.0.1', treq: 'not specified', trsvcid: String(port), trtype: 'tcp' },
        ana_groups: [{ ana: { state: 'optimized' }, grpid: 1 }] as object[],
        param: {},
        portid: 1,
        referrals: [] as object[],
        subsystems: [nqn],
      },
    ],
    subsystems: [
      {
        allowed_hosts: [] as string[],
        attr: { allow_any_host: '1', serial: 'SN-1', model: 'Linux' } as Record<string, string>,
        namespaces: [{ ana_grpid: 1, device: { path }, enable: 1, nsid: 1 }] as object[],
        nqn,
      },
    ],
  };
}

async function attach(target: Target, portid = 1, nqn = NQN, more = {}): Promise<HostController> {
  const { traddr, trsvcid } = target.core.port(portid)!;
  const host = await connectController({
    traddr,
    trsvcid: Number(trsvcid),
    nqn,
    hostnqn: HOST,
    ctrlLossTmo: 0,
    ...more,
  });
  ends.push(() => host.disconnect());
  return host;
}

const filled = (byte: number): Buffer => Buffer.alloc(BLOCK, byte);

async function firstByte(host: HostController, nsid = 1): Promise<number> {
  const block = filled(0);
  await host.namespace(nsid).read(0, block);
  return block[0]!;
}

/** Everything that can be seen of a target from outside. */
function visible(target: Target): unknown {
  return {
    config: configOf(target).text(),
    subsystems: [...target.core.subsystems].map((subsystem) => [
      subsystem.nqn,
      subsystem.serial,
      subsystem.allowAnyHost,
      [...subsystem.allowedHosts],
      subsystem.namespaces.map((namespace) => [
        namespace.nsid,
        namespace.uuid,
        namespace.blockCount,
        namespace.anaGroupId,
      ]),
    ]),
    ports: [...target.core.ports].map((port) => [
      ...[port.portId, port.traddr, port.trsvcid, port.enabled],
      [...port.subsystems].map(({ nqn }) => nqn),
      port.anaGroups.ids().map((grpid) => [grpid, port.anaState(grpid)]),
      [...port.referrals.values()].map(({ name }) => name),
    ]),
  };
}

const refused = (code: string, sentence: RegExp) => (error: unknown) => {
  assert.ok(error instanceof NvbraidError, String(error));
  assert.match(error.message, sentence);
  assert.equal(error.code, code);
  return true;
};

async function busyPort(): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

for (const reactors of [0, 1]) {
  const title = (text: string): string => `${text}, ${reactors} reactors`;

  test(title('a file that nvmetcli wrote is served, and saved again as it was'), async () => {
    const target = await started(reactors);
    const text = `${JSON.stringify(config(), null, 2)}\n`;
    const { warnings } = await applyConfig(target, text);
    assert.deepEqual(warnings, []);
    const host = await attach(target);
    assert.equal(host.identify.sn.trim(), 'SN-1');
    assert.equal(host.identify.mn.trim(), 'Linux');
    assert.equal(host.namespace(1).blockSize, BLOCK, 'the block size that nvmet has for files');
    await host.namespace(1).write(0, filled(7), { fua: true });
    assert.equal(readFileSync(join(scratch, 'one.img'))[0], 7);
    const path = join(scratch, 'saved.json');
    await configOf(target).save(path);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), JSON.parse(text));
    await host.disconnect();
  });

  test(title('a port in use, and a missing file, leave the target exactly as before'), async () => {
    const target = await started(reactors);
    await applyConfig(target, config());
    const host = await attach(target);
    await host.namespace(1).write(0, filled(9));
    const before = visible(target);
    const taken = await busyPort();
    const next = config({ port: taken.port });
    next.subsystems[0]!.namespaces.push({ device: { path: image('two.img') }, enable: 1, nsid: 2 });
    await assert.rejects(
      applyConfig(target, next),
      refused('EADDRINUSE', new RegExp(`^/ports/1: port ${taken.port} on 127.0.0.1 is in use; choose another`)),
    );
    assert.deepEqual(visible(target), before);
    await taken.close();

    const many = config();
    for (let nsid = 2; nsid <= 100; nsid++) {
      const path = nsid === 77 ? join(scratch, 'missing.img') : image(`many-${nsid}.img`);
      many.subsystems[0]!.namespaces.push({ device: { path }, enable: 1, nsid });
    }
    await assert.rejects(
      applyConfig(target, many),
      refused('ENOENT', /^.*namespaces\/77: .*missing\.img does not exist/),
    );
    assert.deepEqual(visible(target), before);
    // This one cannot be foreseen: a file that is to be made where there is no directory. Seventy are served by then.
    const late = many.subsystems[0]!.namespaces.find((entry) => (entry as { nsid: number }).nsid === 77)!;
    const path = join(scratch, 'no-directory', 'made.img');
    Object.assign(late, { device: { path }, nvbraid: { create: true, size: MIB } });
    await assert.rejects(applyConfig(target, many), refused('ENOENT', /its directory does not exist/));
    assert.deepEqual(visible(target), before);
    assert.equal(host.state, 'live', 'the host has not been disturbed');
    assert.equal(await firstByte(host), 9);
    await host.disconnect();
  });

  test(
    title('what a transaction deletes in memory is there again when it is taken back, and after disable and enable'),
    async () => {
      const target = await started(reactors);
      const inMemory = config();
      inMemory.subsystems[0]!.namespaces = [{ enable: 1, nsid: 1, nvbraid: { memory: MIB } }];
      await applyConfig(target, inMemory);
      const host = await attach(target);
      await host.namespace(1).write(0, filled(0x42));
      await host.disconnect();
      const taken = await busyPort();
      const next = config({ port: taken.port, path: image('other.img') });
      await assert.rejects(applyConfig(target, next), refused('EADDRINUSE', /is in use/));
      await taken.close();
      const path = `/subsystems/${NQN}/namespaces/1`;
      const turn = (value: string) => configOf(target).edit([{ op: 'set', path, attribute: 'enable', value }]);
      await turn('0');
      await turn('1');
      const again = await attach(target);
      assert.equal(await firstByte(again), 0x42);
      await again.disconnect();
      await configOf(target).delete(path);
      await configOf(target).apply(inMemory);
      const third = await attach(target);
      assert.equal(await firstByte(third), 0, 'what was deleted for good is gone');
      await third.disconnect();
      await target.close();
    },
  );

  test(title('ANA states and groups change at run time, as in nvmet'), async () => {
    const target = await started(reactors);
    await applyConfig(target, config());
    const host = await attach(target);
    const set = (path: string, attribute: string, value: string) =>
      configOf(target).edit([{ op: 'set', path, attribute, value }]);
    await set('/ports/1/ana_groups/1', 'ana_state', 'inaccessible');
    const status = (expected: number) => (error: unknown) => {
      assert.ok(error instanceof NvmeError, String(error));
      assert.equal(error.status & 0x7ff, expected);
      return true;
    };
    await assert.rejects(firstByte(host), status(0x302));
    await set('/ports/1/ana_groups/1', 'ana_state', 'optimized');
    await firstByte(host);
    await set(`/subsystems/${NQN}/namespaces/1`, 'ana_grpid', '5');
    await assert.rejects(firstByte(host), status(0x302), 'a group that the port does not have is inaccessible');
    await configOf(target).edit([
      { op: 'create', path: '/ports/1/ana_groups/5' },
      { op: 'set', path: '/ports/1/ana_groups/5', attribute: 'ana_state', value: 'non-optimized' },
    ]);
    await firstByte(host);
    await configOf(target).delete('/ports/1/ana_groups/5');
    await assert.rejects(firstByte(host), status(0x302));
    await host.disconnect();
  });

  test(title('a file that has grown is seen when revalidate_size is written'), async () => {
    const path = image(`grows-${reactors}.img`);
    const target = await started(reactors);
    await applyConfig(target, config({ path }));
    truncateSync(path, 2 * MIB);
    await configOf(target).edit([
      { op: 'set', path: `/subsystems/${NQN}/namespaces/1`, attribute: 'revalidate_size', value: '1' },
    ]);
    const host = await attach(target);
    assert.equal(host.namespace(1).blockCount, (2 * MIB) / BLOCK);
    await host.disconnect();
  });

  test(title('a port listens from its first link to its last, hosts are let in by name'), async () => {
    const target = await started(reactors);
    const config0 = configOf(target);
    await applyConfig(target, { ...config(), ports: [] });
    await assert.rejects(
      config0.edit([
        { op: 'create', path: '/ports/1' },
        { op: 'create', path: `/ports/1/subsystems/${NQN}` },
      ]),
      refused('EINVAL', /set addr_trtype/),
    );
    await config0.edit([
      { op: 'create', path: '/ports/1' },
      ...Object.entries({ addr_trtype: 'tcp', addr_adrfam: 'ipv4', addr_traddr: '127.0.0.1', addr_trsvcid: '0' }).map(
        ([attribute, value]) => ({ op: 'set' as const, path: '/ports/1', attribute, value }),
      ),
    ]);
    assert.equal([...target.core.ports].length, 0, 'nothing listens yet');
    await config0.edit([{ op: 'create', path: `/ports/1/subsystems/${NQN}` }]);
    const { trsvcid } = target.core.port(1)!;
    const host = await attach(target);
    await config0.edit([
      { op: 'set', path: `/subsystems/${NQN}`, attribute: 'attr_allow_any_host', value: '0' },
      { op: 'create', path: '/hosts/other' },
      { op: 'create', path: `/subsystems/${NQN}/allowed_hosts/other` },
    ]);
    await assert.rejects(attach(target), (error) => error instanceof NvmeError && (error.status & 0x7ff) === 0x184);
    await (await attach(target, 1, NQN, { hostnqn: 'other' })).disconnect();
    await assert.rejects(firstByte(host), 'the host that is not allowed any more is gone');
    await assert.rejects(config0.delete(`/subsystems/${NQN}`), refused('EBUSY', /is linked by \/ports\/1/));
    await config0.delete(`/ports/1/subsystems/${NQN}`);
    await assert.rejects(
      connectController({ traddr: '127.0.0.1', trsvcid: Number(trsvcid), nqn: NQN, hostnqn: 'other' }),
      refused('ECONNREFUSED', /./),
    );
    await config0.delete(`/subsystems/${NQN}`);
    assert.deepEqual([...target.core.subsystems], []);
    await host.disconnect();
  });

  test(title('what hosts have seen of a subsystem is fixed until it is made anew'), async () => {
    const target = await started(reactors);
    await applyConfig(target, config());
    const serial = (value: string) =>
      configOf(target).edit([{ op: 'set', path: `/subsystems/${NQN}`, attribute: 'attr_serial', value }]);
    await serial('BEFORE');
    await (await attach(target)).disconnect();
    await assert.rejects(serial('AFTER'), refused('EINVAL', /attr_serial is "BEFORE", and hosts have seen it/));
    const next = config();
    next.subsystems[0]!.attr.serial = 'AFTER';
    await assert.rejects(applyConfig(target, next), refused('EINVAL', /hosts have seen it/));
    await target.close();
  });
}

test('referrals and the name of the discovery subsystem are told by the discovery log', async () => {
  const target = await started(0);
  const wanted = config();
  wanted.ports[0]!.referrals.push({
    addr: { adrfam: 'ipv4', portid: '3', traddr: '192.0.2.7', trsvcid: '8009', trtype: 'tcp', treq: 'not specified' },
    enable: 1,
    name: 'elsewhere',
  });
  await applyConfig(target, { ...wanted, discovery: { nqn: 'nqn.disc' } });
  const { traddr, trsvcid } = target.core.port(1)!;
  const ask = async () => (await discover({ traddr, trsvcid: Number(trsvcid), hostnqn: HOST })).records;
  const records = await ask();
  assert.deepEqual(
    records.map(({ subnqn, traddr, portid }) => [subnqn, traddr, portid]).sort(),
    [
      ['nqn.2014-08.org.nvmexpress.discovery', '192.0.2.7', 3],
      [NQN, '127.0.0.1', 1],
      ['nqn.disc', '127.0.0.1', 1],
    ].sort(),
  );
  await configOf(target).edit([{ op: 'set', path: '/ports/1/referrals/elsewhere', attribute: 'enable', value: '0' }]);
  assert.equal((await ask()).length, 2);
  await configOf(target).delete('/ports/1/referrals/elsewhere');
  await target.close();
});

test('a target that was made by calls is saved so that another one becomes the same', async () => {
  const target = await started(0);
  target.addSubsystem({ nqn: NQN, serial: 'BY-CALL', allowedHosts: [HOST] });
  const path = image('call.img');
  await target.addNamespace(NQN, {
    nsid: 3,
    device: fileDevice({ path, blockSize: 512 }),
    nguid: 'ef90689c6c46d44c89c14067801309a8',
  });
  await target.addNamespace(NQN, { nsid: 4, device: memoryDevice({ size: MIB, blockSize: BLOCK }) });
  await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  await target.listen({ address: '127.0.0.1', port: 0 });
  const text = configOf(target).text();
  const uuids = [...target.core.subsystems][0]!.namespaces.map(({ uuid }) => uuid);
  const { tree, warnings } = parseConfig(text);
  assert.deepEqual(warnings, []);
  assert.deepEqual(configOf(target).plan(tree), [], 'nothing would change here');
  await target.close();
  const other = await started(0);
  await applyConfig(other, text);
  const [subsystem] = other.core.subsystems;
  assert.deepEqual(
    [subsystem!.serial, subsystem!.allowAnyHost, [...subsystem!.allowedHosts]],
    ['BY-CALL', false, [HOST]],
  );
  assert.deepEqual(
    subsystem!.namespaces.map(({ nsid, blockSize }) => [nsid, blockSize]),
    [
      [3, 512],
      [4, BLOCK],
    ],
  );
  assert.equal(subsystem!.namespaces[0]!.uuid, uuids[0]);
  assert.equal([...other.core.ports].length, 2);
  assert.equal(configOf(other).text(), text);
  await other.close();
});

test('a transport that is not built is refused when its port is enabled', async () => {
  const target = await started(0);
  const wanted = config();
  wanted.ports[0]!.addr.trtype = 'rdma';
  await assert.rejects(
    applyConfig(target, wanted),
    refused('ENOTSUP', /^\/ports\/1: transport type 1 \(rdma\) not supported: not built/),
  );
  wanted.ports[0]!.subsystems = [];
  await applyConfig(target, wanted);
  assert.match(configOf(target).text(), /"trtype": "rdma"/);
  await target.close();
});

test('changes that come at the same time follow each other', async () => {
  const target = await started(0);
  const all = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) =>
      configOf(target).edit([
        { op: 'create', path: `/subsystems/s${i % 25}` },
        { op: 'create', path: `/subsystems/s${i % 25}/namespaces/1` },
      ]),
    ),
  );
  assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 25);
  assert.equal([...target.core.subsystems].length, 25);
  await configOf(target).clear();
  assert.equal([...target.core.subsystems].length, 0);
  await target.close();
});

test('a configuration that cannot be read or written is named', async () => {
  const target = await started(0);
  const missing = join(scratch, 'none.json');
  await assert.rejects(
    configOf(target).restore(missing),
    refused('ENOENT', /the configuration .*none\.json does not exist/),
  );
  const torn = join(scratch, 'torn.json');
  writeFileSync(torn, '{"hosts": [');
  await assert.rejects(configOf(target).restore(torn), refused('EINVAL', /is not JSON/));
  if (process.getuid?.() !== 0) {
    chmodSync(torn, 0);
    await assert.rejects(configOf(target).restore(torn), refused('EACCES', /no permission/));
  }
  await assert.rejects(configOf(target).save(join(torn, 'config.json')), NvbraidError);
  await target.close();
});

test('filters of a configuration stand over the device; what is wrong with one is said', async () => {
  const target = await started(0);
  const wanted = config();
  const namespace = { device: { path: image('filtered.img') }, enable: 1, nsid: 1 };
  wanted.subsystems[0]!.namespaces = [{ ...namespace, nvbraid: { filters: [{ kind: 'nonsense' }] } }];
  await assert.rejects(
    applyConfig(target, wanted),
    refused('EINVAL', /nvbraid_filters is a list of filters.*nonsense/),
  );
  wanted.subsystems[0]!.namespaces = [{ ...namespace, nvbraid: { filters: [{ kind: 'read-only' }] } }];
  await applyConfig(target, wanted);
  const host = await attach(target);
  await assert.rejects(host.namespace(1).write(0, filled(1)), NvmeError);
  await host.disconnect();
  await target.close();
});

test('options under nvbraid reach the library: limits of a host, faults, zones; what only a start can have is said', async () => {
  const target = await started(0);
  const wanted = config({ path: image('options.img') });
  wanted.hosts.push({ nqn: HOST, nvbraid: { limits: { iops: 5000 } } });
  wanted.subsystems[0]!.namespaces = [{ enable: 1, nsid: 1, nvbraid: { memory: MIB, zoned: { zoneSize: 65536 } } }];
  await applyConfig(target, { ...wanted, nvbraid: { faults: [{ action: 'drop', on: 'C2HData', after: 1000 }] } }).catch(
    (error: NvbraidError) => assert.match(error.message, /nvbraid_faults is a list of protocol faults/),
  );
  await applyConfig(target, wanted);
  assert.equal(target.hosts.options(HOST).iops, 5000);
  assert.equal([...target.core.subsystems][0]!.namespaces[0]!.csi, 2);
  await assert.rejects(
    configOf(target).edit([{ op: 'set', path: `/hosts/${HOST}`, attribute: 'nvbraid_limits', value: '{"iops":-1}' }]),
    refused('EINVAL', /iops of a host is a whole number from 0/),
  );
  await configOf(target).delete(`/hosts/${HOST}`);
  assert.equal(target.hosts.options(HOST).iops ?? 0, 0);
  await assert.rejects(
    configOf(target).edit([{ op: 'set', path: '/', attribute: 'nvbraid_limits', value: '{"connections":100}' }]),
    refused('ENOTSUP', /only when the process starts/),
  );
});

test('a namespace can be reserved when resv_enable says so, as in nvmet', async () => {
  const target = await started(0);
  const wanted = config({ path: image('reserved.img') });
  const reservations = () => [...target.core.subsystems][0]!.namespaces[0]!.reservations;
  await applyConfig(target, wanted);
  assert.equal(reservations(), null);
  Object.assign(wanted.subsystems[0]!.namespaces[0]!, { resv: { enable: '1' } });
  await applyConfig(target, wanted);
  assert.notEqual(reservations(), null);
  const { tree } = parseConfig(configOf(target).text());
  assert.deepEqual(configOf(target).plan(tree), []);
});

test('where there are no raw sockets, ports are made by the row that was preferred', async (t) => {
  const row = transports.tcp as { unsupported(): string | null };
  const real = row.unsupported;
  row.unsupported = () => 'raw sockets need Linux, this is plan9';
  try {
    const edits = [
      { op: 'create', path: `/subsystems/${NQN}` },
      { op: 'create', path: '/ports/1' },
      { op: 'set', path: '/ports/1', attribute: 'addr_trtype', value: 'tcp' },
      { op: 'set', path: '/ports/1', attribute: 'addr_adrfam', value: 'ipv4' },
      { op: 'set', path: '/ports/1', attribute: 'addr_traddr', value: '127.0.0.1' },
      { op: 'set', path: '/ports/1', attribute: 'addr_trsvcid', value: '0' },
      { op: 'create', path: `/ports/1/subsystems/${NQN}` },
    ] as const;
    for (const transport of ['tcp', 'net']) {
      const target = await createTarget({ reactors: 0 });
      t.after(() => target.close());
      const work = configOf(target, { transport }).edit(edits);
      if (transport === 'net') await work;
      else
        await assert.rejects(work, { code: 'ENOTSUP', message: /transport type 3 \(tcp\) not supported: raw sockets/ });
    }
  } finally {
    row.unsupported = real;
  }
});
