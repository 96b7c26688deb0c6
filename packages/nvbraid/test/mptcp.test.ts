import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { afterEach, describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { mptcp } from '@nvbraid/transport';
import { Adrfam, DiscoveryEntry, Subtype, Trtype } from '@nvbraid/wire';
import { Namespaces, noMptcpNamespaces } from '../../transport/test/support/namespaces.ts';
import {
  applyConfig,
  configOf,
  connect,
  connectAll,
  connectController,
  connectSubsystem,
  createTarget,
  discover,
  type HostSubsystem,
  type ListenConfig,
  NvbraidError,
  parseConfig,
} from '../src/index.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:mptcp';
const BLOCK = 4096;
const open: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serving(reactors: number, ...ports: Omit<ListenConfig, 'subsystems'>[]) {
  const target = await createTarget({ reactors });
  open.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 4 << 20, blockSize: BLOCK }) });
  const listening = [];
  for (const port of ports) listening.push(await target.listen({ ...port, subsystems: [NQN] }));
  return { target, ports: listening };
}

function way(
  port: { readonly transport: string; readonly address: string; readonly port: number },
  transport?: string,
) {
  return { transport: transport ?? port.transport, traddr: port.address, trsvcid: port.port, nqn: NQN };
}

interface Blocks {
  write(slba: number, data: Uint8Array): Promise<unknown>;
  read(slba: number, buffer: Uint8Array): Promise<unknown>;
}

async function blocks(of: Blocks, slba: number, count = 1): Promise<Uint8Array> {
  const buffer = new Uint8Array(count * BLOCK);
  await of.read(slba, buffer);
  return buffer;
}

/** What was written is read again, by commands of all sizes: in the capsule, by R2T, over several PDUs. */
async function movesData(to: Blocks): Promise<void> {
  for (const [slba, count] of [
    [0, 1],
    [8, 2],
    [16, 64],
  ] as const) {
    const data = new Uint8Array(count * BLOCK).map((_, i) => (i * 7 + slba) & 0xff);
    await to.write(slba, data);
    assert.ok(Buffer.from(data).equals(await blocks(to, slba, count)));
  }
}

function code(wanted: string, message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof NvbraidError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, wanted, error.message);
    return true;
  };
}
const LOOPBACK = { address: '127.0.0.1', port: 0 };

describe('NVMe over Multipath TCP', { skip: mptcp.unsupported() ?? false, timeout: 60_000 }, () => {
  for (const reactors of [0, 1]) {
    for (const [host, at] of [
      ['tcp', 'tcp'],
      ['mptcp', 'mptcp'],
      ['mptcp', 'tcp'],
    ] as const) {
      test(`row 13: a host of ${host} at a port of ${at} moves data, ${reactors} reactors`, async () => {
        const { ports } = await serving(reactors, { ...LOOPBACK, transport: at });
        const how = { ...way(ports[0]!, host), nrIoQueues: 2, hdrDigest: true, dataDigest: true };
        const controller = await connectController(how);
        open.push(() => controller.disconnect());
        await movesData(controller.namespaces.get(1)!);
        const fallbacks = controller.subflows(false).map(({ fallback }) => fallback);
        assert.deepEqual(fallbacks, host === 'tcp' ? [] : [at === 'tcp', at === 'tcp', at === 'tcp']);
      });
    }

    test(`row 5: a host of tcp at a port of mptcp is refused, counted and told of, ${reactors} reactors`, async () => {
      const log: string[] = [];
      const { target, ports } = await serving(reactors, { ...LOOPBACK, transport: 'mptcp' });
      target.on('log', (message) => log.push(message));
      await assert.rejects(connectController({ ...way(ports[0]!, 'tcp'), ctrlLossTmo: 0 }), { code: 'ECONNRESET' });
      assert.equal(target.stats().fallbackRefused, 1);
      assert.equal(target.stats().limitsMet, 0);
      const told = log.filter((line) => line.includes('fallbackRefused'));
      assert.match(
        told[0]!,
        /^connection from 127\.0\.0\.1:\d+ to port 1 \(mptcp\) came by plain TCP and was refused: /,
      );
      // Where it may, it is taken; the queue works, by whatever thread.
      const free = await target.listen({ ...LOOPBACK, transport: 'mptcp', subsystems: [NQN], allowFallback: true });
      const controller = await connectController(way(free, 'tcp'));
      open.push(() => controller.disconnect());
      await movesData(controller.namespaces.get(1)!);
      assert.deepEqual([target.stats().fallbackRefused, target.stats().fallbackTaken], [1, 2]);
    });
  }

  test('row 2: the discovery log names mptcp, tells no TSAS, and the address by which it was asked', async () => {
    const { ports } = await serving(
      0,
      { address: '0.0.0.0', port: 0, transport: 'mptcp' },
      { address: '::', port: 0, transport: 'mptcp' },
      { ...LOOPBACK, transport: 'tcp' },
    );
    const at = { transport: 'mptcp', trsvcid: ports[0]!.port };
    const { records } = await discover({ ...at, traddr: '127.0.0.1' });
    const found = records.map(({ trtype, adrfam, subtype, traddr, trsvcid }) => [
      ...[trtype, adrfam, subtype, traddr],
      Number(trsvcid),
    ]);
    const { Ipv4 } = Adrfam;
    assert.deepEqual(found, [
      [Trtype.Mptcp, Ipv4, Subtype.CurrentDiscovery, '127.0.0.1', ports[0]!.port],
      [Trtype.Mptcp, Ipv4, Subtype.Nvme, '127.0.0.1', ports[0]!.port],
      [Trtype.Mptcp, Ipv4, Subtype.Nvme, '127.0.0.1', ports[1]!.port],
      [Trtype.Tcp, Ipv4, Subtype.Nvme, '127.0.0.1', ports[2]!.port],
    ]);
    for (const record of records) assert.ok(record.tsas.every((byte) => byte === 0));
    const bytes = new Uint8Array(1024);
    DiscoveryEntry.emit(new DataView(bytes.buffer), 0, records[1]!);
    assert.equal(bytes[0], 4, 'TRTYPE, provisional');
    const own = await discover({ ...at, traddr: '127.0.0.2' });
    assert.deepEqual([...new Set(own.records.slice(0, 3).map(({ traddr }) => traddr))], ['127.0.0.2']);
    const six = await discover({ transport: 'mptcp', trsvcid: ports[1]!.port, traddr: '::1' });
    assert.deepEqual([six.records[0]!.adrfam, six.records[0]!.traddr], [Adrfam.Ipv6, '::1']);
  });

  test('connect-all takes each record by its own transport, as paths of one head', async () => {
    const { ports } = await serving(1, { ...LOOPBACK, transport: 'mptcp' }, { ...LOOPBACK, transport: 'tcp' });
    const all = await connectAll({ transport: 'mptcp', traddr: '127.0.0.1', trsvcid: ports[0]!.port });
    open.push(() => all.disconnect());
    const subsystem = all.subsystems.get(NQN)!;
    const paths = subsystem.status().flatMap(({ paths }) => paths.map(({ transport }) => transport));
    assert.deepEqual(paths.sort(), ['mptcp', 'tcp']);
    assert.deepEqual(
      all.paths.map(({ outcome }) => outcome),
      ['connected', 'connected'],
    );
  });

  test('row 11: a path by tcp is none by mptcp: the same address twice is a duplicate only by the same transport', async () => {
    const { ports } = await serving(0, { ...LOOPBACK, transport: 'tcp' });
    const subsystem = await connectSubsystem({ ...way(ports[0]!) });
    open.push(() => subsystem.disconnect());
    await subsystem.addPath(way(ports[0]!, 'mptcp'));
    await assert.rejects(
      subsystem.addPath(way(ports[0]!, 'mptcp')),
      code('EBUSY', /is connected by this path already/),
    );
    assert.equal(subsystem.controllers.length, 2);
  });

  test('row 59: paths by tcp and mptcp take over from each other', async () => {
    const { target, ports } = await serving(1, { ...LOOPBACK, transport: 'mptcp' }, { ...LOOPBACK, transport: 'tcp' });
    const paths = ports.map((port) => way(port));
    const head = await connect({ nqn: NQN, paths, reconnectDelay: 1, keepAliveTmo: 1 });
    open.push(() => head.disconnect());
    const subsystem = head.subsystem as HostSubsystem;
    const live = (): string[] =>
      subsystem.controllers.filter(({ state }) => state === 'live').map(({ place }) => place!.transport);
    for (const gone of [0, 1]) {
      const { portid, transport } = ports[gone]!;
      let running = true;
      const work = (async () => {
        for (let round = 0; running || round < 20; round++) {
          const data = new Uint8Array(BLOCK).fill(round);
          await head.write(round % 64, data);
          assert.deepEqual((await blocks(head, round % 64))[0], round & 0xff);
        }
      })();
      await target.disablePort(portid);
      await until(() => !live().includes(transport));
      running = false;
      await work;
      assert.deepEqual(live(), [ports[1 - gone]!.transport]);
      await target.enablePort(portid);
      await target.link(portid, NQN);
      await until(() => live().length === 2);
    }
  });

  test('row 14: Connect is refused with its status, and a controller outlives its Keep Alive Timeout', async () => {
    const { target, ports } = await serving(1, { ...LOOPBACK, transport: 'mptcp' });
    await assert.rejects(connectController({ ...way(ports[0]!), nqn: `${NQN}:none` }), {
      statusName: 'Connect Invalid Parameters',
    });
    const controller = await connectController({ ...way(ports[0]!), keepAliveTmo: 1, hdrDigest: true });
    open.push(() => controller.disconnect());
    const told = new Promise((resolve) => {
      controller.once('aen', resolve);
    });
    await sleep(2500);
    assert.equal(controller.state, 'live');
    await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: BLOCK }) });
    await told;
    await controller.reset();
    await until(() => controller.state === 'live');
  });

  test('row 26: a port that is disabled ends its controllers', async () => {
    const { target, ports } = await serving(1, { ...LOOPBACK, transport: 'mptcp' });
    const controller = await connectController({ ...way(ports[0]!), ctrlLossTmo: 0 });
    const closed = new Promise((resolve) => {
      controller.once('closed', resolve);
    });
    await target.unlink(ports[0]!.portid, NQN);
    assert.ok((await closed) instanceof NvbraidError);
    assert.equal(target.stats().controllers, 0);
  });

  test('row 10: options for TLS are refused', async () => {
    for (const option of [{ tls: true }, { concat: true }, { tlsKey: 'x' }, { keyring: 'x' }]) {
      await assert.rejects(
        connectController({ transport: 'mptcp', traddr: '127.0.0.1', nqn: NQN, ...option }),
        code('EINVAL', /is no valid option: TLS is not built for tcp, and mptcp cannot have it/),
      );
    }
  });
});

describe('ports of mptcp in the configuration', { timeout: 60_000 }, () => {
  test('row 1: trtype is read and written; row 10: tsas is empty and refuses', {
    skip: mptcp.unsupported() ?? false,
  }, async () => {
    const { target } = await serving(0);
    const config = configOf(target);
    const set = (attribute: string, value: string): Promise<unknown> =>
      config.edit([{ op: 'set', path: '/ports/1', attribute, value }]);
    const get = (attribute: string): string => config.tree.group('ports').get('1')!.get(attribute);
    await config.edit([{ op: 'create', path: '/ports/1' }]);
    await set('addr_trtype', 'tcp');
    assert.equal(get('addr_tsas'), 'none');
    await set('addr_trtype', 'mptcp');
    assert.deepEqual([get('addr_trtype'), get('addr_tsas')], ['mptcp', '']);
    for (const value of ['none', '', 'tls1.3']) {
      const wanted =
        value === 'tls1.3'
          ? code('ENOTSUP', /TLS is not built/)
          : code('EINVAL', /addr_tsas has no meaning with addr_trtype=mptcp/);
      await assert.rejects(set('addr_tsas', value), wanted);
    }
    await set('addr_adrfam', 'ipv4');
    await set('addr_traddr', '127.0.0.1');
    await set('addr_trsvcid', '0');
    await set('nvbraid_transport', 'net');
    const link = (): Promise<unknown> => config.edit([{ op: 'create', path: `/ports/1/subsystems/${NQN}` }]);
    await assert.rejects(link(), code('EINVAL', /nvbraid_transport=net is no transport of addr_trtype=mptcp/));
    await set('nvbraid_transport', '');
    await link();
    for (const [attribute, value] of [
      ['addr_trtype', 'tcp'],
      ['addr_tsas', 'none'],
      ['nvbraid_allow_fallback', '1'],
    ] as const) {
      await assert.rejects(set(attribute, value), code('EACCES', /cannot change while the port is enabled/));
    }
    const [port] = [...target.core.ports];
    assert.deepEqual([port!.trtype, target.listeningOf(1).transport], [Trtype.Mptcp, 'mptcp']);
    // What is saved restores the same.
    const text = config.text();
    assert.match(text, /"tsas": ""/);
    assert.deepEqual(parseConfig(text).warnings, []);
  });

  test('from tcp to mptcp and back, as one change of the whole', { skip: mptcp.unsupported() ?? false }, async () => {
    const target = await createTarget({ reactors: 0 });
    open.push(() => target.close());
    for (const trtype of ['tcp', 'mptcp', 'tcp']) {
      await applyConfig(target, {
        hosts: [],
        subsystems: [{ nqn: NQN, namespaces: [], allowed_hosts: [], attr: { allow_any_host: '1' } }],
        ports: [
          {
            portid: 1,
            addr: { trtype, adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '0', tsas: trtype === 'tcp' ? 'none' : '' },
            subsystems: [NQN],
          },
        ],
      });
      assert.equal(target.listeningOf(1).transport, trtype);
    }
  });
});

describe('Multipath TCP between two machines', { skip: noMptcpNamespaces, timeout: 120_000 }, () => {
  test('losing a subflow is not seen; losing all is, and the head comes back', async () => {
    const machines = new Namespaces(2);
    try {
      machines.enter(machines.target);
      const { ports } = await serving(1, { address: '10.77.1.1', port: 4420, transport: 'mptcp' });
      machines.enter(machines.host);
      const how = { keepAliveTmo: 2, reconnectDelay: 1, ioTimeoutMs: 10_000 };
      const head = await connect({ ...way(ports[0]!), ...how });
      open.push(() => head.disconnect());
      const subsystem = head.subsystem as HostSubsystem;
      const [controller] = subsystem.controllers;
      const states: string[] = [];
      controller!.on('state', (state) => states.push(state));
      const subflows = (): number => Math.min(...controller!.subflows(false).map(({ subflows }) => subflows.length));
      const write = (fill: number): Promise<unknown> => head.write(fill % 64, new Uint8Array(BLOCK).fill(fill));
      for (let i = 0; subflows() < 2; i++) {
        await write(i & 0xff);
        await sleep(20);
      }
      machines.setLink(1, 'down'); // that by which it was connected
      for (let i = 0; i < 50; i++) await write(i);
      assert.deepEqual((await blocks(head, 49))[0], 49);
      assert.deepEqual([states, controller!.stats().resets], [[], 0]);
      machines.setLink(2, 'down');
      const lost = write(7);
      await until(() => states.length > 0);
      machines.setLink(1, 'up');
      machines.setLink(2, 'up');
      await lost;
      await until(() => controller!.state === 'live');
      assert.equal((await blocks(head, 7))[0], 7);
      assert.equal(controller!.stats().reconnects, 1);
    } finally {
      for (const close of open.splice(0).reverse()) await close();
      machines.close();
    }
  });

  test('row 9: without Multipath TCP in the kernel tcp works, and mptcp says why not', () => {
    const machines = new Namespaces(0, 0);
    try {
      const inside = (...argv: string[]): string[] => ['netns', 'exec', machines.host, ...argv];
      machines.ip(...inside('sysctl', '-qw', 'net.mptcp.enabled=0'));
      const script = new URL('./support/without-mptcp.ts', import.meta.url).pathname;
      const said = JSON.parse(execFileSync('ip', inside(process.execPath, script), { encoding: 'utf8' })) as unknown;
      const reason =
        'transport type 4 (mptcp) not supported: Multipath TCP is switched off here: sysctl net.mptcp.enabled=1 switches it on';
      assert.deepEqual(said, {
        listen: ['ENOTSUP', reason],
        connect: ['ENOTSUP', reason],
        config: ['ENOTSUP', `/ports/7: ${reason}`],
        tcp: 'live',
      });
    } finally {
      machines.close();
    }
  });
});

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function until(met: () => boolean): Promise<void> {
  while (!met()) await sleep(20);
}
