import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import {
  Adrfam,
  AsyncEventNotice,
  AsyncEventType,
  type DiscoveryEntry,
  discoveryLog,
  Subtype,
  Trtype,
} from '@nvbraid/wire';
import { readDiscoveryLog } from '../src/discover.ts';
import { discoverAll } from '../src/discovery/discover-all.ts';
import {
  connectDiscovery,
  DiscoveryConnection,
  type DiscoveryController,
} from '../src/discovery/discovery-connection.ts';
import { addressKey, recordAddress } from '../src/discovery/service-address.ts';
import { DiscoverySite, until } from './support/discovery-site.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:';

function record(fields: Partial<DiscoveryEntry> = {}): Partial<DiscoveryEntry> {
  const address = { trtype: Trtype.Tcp, adrfam: Adrfam.Ipv4, traddr: '192.0.2.1', trsvcid: '4420' };
  return { ...address, subtype: Subtype.Nvme, subnqn: `${NQN}a`, ...fields };
}

describe('referrals', () => {
  test('a circle of discovery services is walked once, and what is behind is found', async () => {
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((name) => DiscoverySite.open([NQN + name])));
    try {
      a!.refer('b', b!.port.port);
      a!.refer('b again', b!.port.port);
      b!.refer('a', a!.port.port);
      b!.refer('b', b!.port.port);
      b!.refer('c', c!.port.port);
      c!.refer('a', a!.port.port);
      const { services, omitted } = await discoverAll(a!.options);
      assert.deepEqual(
        services.map(({ trsvcid, depth, error }) => ({ trsvcid, depth, error })),
        [a, b, c].map((site, depth) => ({ trsvcid: site!.port.port, depth, error: null })),
      );
      assert.equal(omitted, 0);
      const nqns = services.flatMap(({ records }) => records.filter(({ subtype }) => subtype === Subtype.Nvme));
      assert.deepEqual(
        nqns.map(({ subnqn }) => subnqn),
        [`${NQN}a`, `${NQN}b`, `${NQN}c`],
      );
    } finally {
      await Promise.all([a, b, c].map((site) => site!.close()));
    }
  });

  test('one that leads nowhere is told of and skipped', async () => {
    const [a, b] = [await DiscoverySite.open([]), await DiscoverySite.open([`${NQN}b`])];
    const nobody = createServer().listen(0, '127.0.0.1');
    await once(nobody, 'listening');
    const { port } = nobody.address() as { port: number };
    nobody.close();
    try {
      a.refer('dead', port);
      a.refer('b', b.port.port);
      const { services } = await discoverAll(a.options);
      assert.deepEqual(
        services.map(({ error }) => error?.code ?? null),
        [null, 'ECONNREFUSED', null],
      );
      assert.equal(services[2]!.records.at(-1)!.subnqn, `${NQN}b`);
    } finally {
      await a.close();
      await b.close();
    }
  });

  test('a chain without end, as an adversary makes it, is left after a bounded number', async () => {
    // One service on many addresses of this machine, each of which refers to the next.
    const sites = await Promise.all(Array.from({ length: 11 }, () => DiscoverySite.open([])));
    try {
      for (const [i, site] of sites.entries()) if (i < 10) site.refer('next', sites[i + 1]!.port.port);
      const { services, omitted } = await discoverAll(sites[0]!.options);
      assert.equal(services.length, 9, 'the first, and eight referrals one behind the other');
      assert.equal(omitted, 1);
    } finally {
      await Promise.all(sites.map((site) => site.close()));
    }
  });

  test('records that lead nowhere are refused with what is wrong', () => {
    const entry = (fields: Partial<DiscoveryEntry>): DiscoveryEntry => {
      const page = discoveryLog(1, [record(fields)]);
      assert.ok(page.length === 2048);
      return { treq: 0, ...record(fields) } as DiscoveryEntry;
    };
    assert.deepEqual(recordAddress(entry({})), {
      nqn: `${NQN}a`,
      transport: 'tcp',
      traddr: '192.0.2.1',
      trsvcid: 4420,
    });
    assert.throws(() => recordAddress(entry({ trtype: Trtype.Rdma })), /transport rdma is not supported/);
    assert.throws(() => recordAddress(entry({ treq: 1 })), /demands TLS/);
    assert.throws(() => recordAddress(entry({ traddr: 'evil.example' })), /this is no address/);
    assert.throws(() => recordAddress(entry({ trsvcid: '0' })), /this is no address/);
    assert.throws(() => recordAddress(entry({ trsvcid: '4420\x1b[2J' })), /port 4420\?\[2J/);
    assert.throws(() => recordAddress(entry({ subnqn: 'nqn\nx' })), /no name of a subsystem/);
  });

  test('an address is the same however it is spelled', () => {
    assert.equal(
      addressKey({ traddr: '::1', trsvcid: '8009' }),
      addressKey({ traddr: '0:0:0:0:0:0:0:1', trsvcid: 8009 }),
    );
    assert.notEqual(addressKey({ traddr: '::1', trsvcid: 8009 }), addressKey({ traddr: '::2', trsvcid: 8009 }));
  });
});

/** A controller whose log page is what the script says; `reads` counts the log pages that are asked for. */
class Scripted extends EventEmitter {
  state = 'live';
  genctr = 1;
  entries: Partial<DiscoveryEntry>[] = [];
  reads: { bytes: number; rae: number }[] = [];
  onRead: (n: number) => void = () => {};

  async getLogPage(_lid: number, bytes: number, { rae = 0 } = {}): Promise<Uint8Array> {
    this.reads.push({ bytes, rae });
    const page = discoveryLog(this.genctr, this.entries);
    const sent = new Uint8Array(bytes);
    sent.set(page.subarray(0, bytes));
    this.onRead(this.reads.length);
    return sent;
  }

  async disconnect(): Promise<void> {
    this.emit('closed', null);
  }

  change(entries: Partial<DiscoveryEntry>[]): void {
    this.genctr++;
    this.entries = entries;
  }

  tell(): void {
    this.emit('aen', { type: AsyncEventType.Notice, info: AsyncEventNotice.DiscoveryLogPageChange, lid: 0x70, dw0: 0 });
  }

  get self(): DiscoveryController {
    return this as unknown as DiscoveryController;
  }
}

describe('generation counter', () => {
  test('a change between header, records and header starts over; only the last command releases the event', async () => {
    for (const during of [1, 2]) {
      const controller = new Scripted();
      controller.entries = [record()];
      controller.onRead = (n) => {
        if (n === during) controller.change([record(), record({ subnqn: `${NQN}b` })]);
      };
      const { genctr, records } = await readDiscoveryLog(controller.self);
      assert.equal(genctr, 2);
      assert.deepEqual(
        records.map(({ subnqn }) => subnqn),
        [`${NQN}a`, `${NQN}b`],
      );
      assert.deepEqual(
        controller.reads.map(({ rae }) => rae),
        [1, 1, 0, 1, 1, 0],
      );
    }
  });

  test('a log that never stays as it is is given up', async () => {
    const controller = new Scripted();
    controller.onRead = () => controller.change([record()]);
    await assert.rejects(readDiscoveryLog(controller.self), { code: 'EBUSY' });
    assert.equal(controller.reads.length, 30);
  });

  test('more records than anybody has are refused before they are read', async () => {
    const controller = new Scripted();
    controller.getLogPage = async (_lid, bytes) => {
      const page = discoveryLog(1, []);
      new DataView(page.buffer).setBigUint64(8, 1n << 40n, true);
      assert.equal(bytes, 1024);
      return page;
    };
    await assert.rejects(readDiscoveryLog(controller.self), { code: 'EPROTO' });
  });

  test('what is told while the log is being read is not missed', async () => {
    const controller = new Scripted();
    const connection = new DiscoveryConnection(controller.self);
    await connection.start();
    const changes: string[][] = [];
    connection.on('changed', ({ added, removed }) =>
      changes.push([...added.map(({ subnqn }) => `+${subnqn}`), ...removed.map(({ subnqn }) => `-${subnqn}`)]),
    );
    controller.change([record({ subnqn: 'one' })]);
    // The second change comes after the last command of the reading that the first one started.
    controller.onRead = (n) => {
      if (n !== 6) return;
      controller.change([record({ subnqn: 'two' })]);
      controller.tell();
    };
    controller.tell();
    await until(() => connection.genctr === 3);
    await until(() => changes.length === 2);
    assert.deepEqual(changes, [['+one'], ['+two', '-one']]);
    assert.equal(controller.reads.length, 9);
  });

  test('a counter that moves without a record that does is no change; a log that failed is read again', async () => {
    const controller = new Scripted();
    controller.entries = [record()];
    const connection = new DiscoveryConnection(controller.self);
    await connection.start();
    connection.on('changed', () => assert.fail('nothing has changed'));
    controller.change([record({ portid: 7 })]);
    controller.tell();
    await until(() => connection.genctr === 2);
    connection.removeAllListeners('changed');
    const honest = controller.getLogPage;
    controller.getLogPage = async () => new Uint8Array(16).fill(255);
    const told = once(connection, 'log');
    controller.change([]);
    controller.tell();
    assert.match((await told)[0], /could not be read/);
    controller.getLogPage = honest;
    await once(connection, 'changed');
    assert.deepEqual(connection.records, []);
  });
});

describe('connectDiscovery', () => {
  test('tells what came and went, also what changed while nobody was connected', async () => {
    let site = await DiscoverySite.open([`${NQN}a`]);
    const { port } = site.port;
    const connection = await connectDiscovery({ ...site.options, reconnectDelay: 0.05, keepAliveTmo: 30 });
    try {
      assert.deepEqual(
        connection.records.map(({ subtype }) => subtype),
        [Subtype.CurrentDiscovery, Subtype.Nvme],
      );
      const added = once(connection, 'changed');
      await site.add(`${NQN}late`);
      const [change] = await added;
      assert.deepEqual([change.added.length, change.removed.length], [1, 0]);
      assert.equal(change.added[0].subnqn, `${NQN}late`);

      const later = once(connection, 'changed');
      await site.close();
      site = await DiscoverySite.open([`${NQN}b`], port);
      const [{ added: came, removed: went }] = await later;
      assert.deepEqual(
        came.map(({ subnqn }: DiscoveryEntry) => subnqn),
        [`${NQN}b`],
      );
      assert.deepEqual(went.map(({ subnqn }: DiscoveryEntry) => subnqn).sort(), [`${NQN}a`, `${NQN}late`]);
    } finally {
      await connection.disconnect();
      await site.close();
    }
  });
});
