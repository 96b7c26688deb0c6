import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockDevice } from '@nvbraid/blockdev';
import {
  Csi,
  DNR,
  IoOpcode,
  ReservationAcquireData,
  ReservationAcquireSqe,
  ReservationRegisterData,
  ReservationRegisterSqe,
  ReservationReleaseData,
  ReservationReleaseSqe,
  ReservationReportSqe,
  Sqe,
  Status,
} from '@nvbraid/wire';
import {
  type ForwardedCommand,
  type ForwardedDone,
  IoCommands,
  IoCounters,
  type NamespaceSnapshot,
  NamespaceTable,
  type ReservationSnapshot,
} from '../src/index.ts';
import { FakeQueue, FakeRequest } from './fake-queue.ts';

/* Reservations where I/O commands run: what is let through, and how reservation commands leave for the control plane. */

const CONFLICT = Status.ReservationConflict | DNR;
const ME = { hostnqn: 'nqn.2024-01.example.com:me', hostid: 'me', cntlid: 1 };

interface Forwarded {
  readonly command: ForwardedCommand;
  readonly done: ForwardedDone;
}

/** The I/O commands of one host on a namespace whose device refuses to be used. */
class Bench {
  readonly forwarded: Forwarded[] = [];
  readonly table: NamespaceTable;
  readonly io: IoCommands;
  readonly queue = new FakeQueue();
  #version = 0;

  constructor(csi: number = Csi.Nvm, forwards = true) {
    const device = { memory: null, blockSize: 4096, submit: () => assert.fail('the device is used') };
    this.table = new NamespaceTable(() => device as unknown as BlockDevice);
    this.io = new IoCommands(this.table, new IoCounters(), {
      host: ME,
      ...(forwards ? { forward: (_entry, command, done) => void this.forwarded.push({ command, done }) } : {}),
    });
    this.queue.commands = this.io;
    this.#csi = csi;
    this.reserve(null);
  }

  readonly #csi: number;

  reserve(reservation: ReservationSnapshot | null, more: Partial<NamespaceSnapshot> = {}): void {
    const namespace: NamespaceSnapshot = {
      nsid: 1,
      instance: 1,
      blockSize: 4096,
      blockCount: 64,
      readOnly: false,
      volatileWriteCache: false,
      thin: false,
      anaGroupId: 1,
      pathStatus: 0,
      csi: this.#csi,
      device: null,
      ...(reservation === null ? {} : { reservation }),
      ...more,
    };
    this.table.update({ nqn: 'nqn', portId: 1, version: ++this.#version, namespaces: [namespace] });
  }

  /** A command that has room for whatever data it needs. */
  request(opc: number, values: Partial<Sqe> = {}): FakeRequest {
    const sqe = Sqe.toBytes({ opc, nsid: 1, sglLength: 1 << 20, ...values });
    return new FakeRequest(this.queue, 0, sqe, new Uint8Array(1 << 20));
  }
}

const held = (rtype: number): ReservationSnapshot => ({
  rtype: rtype as ReservationSnapshot['rtype'],
  holder: rtype < 5 ? 'other' : null,
  registrants: ['other'],
});

const READS = [IoOpcode.Read, IoOpcode.Compare, IoOpcode.Verify];
const WRITES = [
  IoOpcode.Write,
  IoOpcode.WriteUncorrectable,
  IoOpcode.WriteZeroes,
  IoOpcode.DatasetManagement,
  IoOpcode.Copy,
  IoOpcode.Flush,
];
const FREE = [
  IoOpcode.ReservationRegister,
  IoOpcode.ReservationReport,
  IoOpcode.ReservationAcquire,
  IoOpcode.ReservationRelease,
];
const ZONED_READS = [IoOpcode.ZoneManagementReceive];
const ZONED_WRITES = [IoOpcode.ZoneManagementSend, IoOpcode.ZoneAppend];

test('every I/O command of every kind meets the reservation, as reading or as writing', () => {
  for (const csi of [Csi.Nvm, Csi.Zoned]) {
    const bench = new Bench(csi);
    const zoned = csi === Csi.Zoned;
    const reads: number[] = [...READS, ...(zoned ? ZONED_READS : [])];
    const writes: number[] = [...WRITES, ...(zoned ? ZONED_WRITES : [])].filter(
      (opcode) => !zoned || opcode !== IoOpcode.WriteUncorrectable,
    );
    const known = bench.table.find(1)!.commands.flatMap((row, opcode) => (row === undefined ? [] : [opcode]));
    const told = [...reads, ...writes, ...FREE];
    assert.deepEqual(
      known,
      told.toSorted((a, b) => a - b),
      'a command that is not in these lists needs a place in them',
    );
    for (let rtype = 1; rtype <= 6; rtype++) {
      bench.reserve(held(rtype));
      const exclusiveAccess = rtype % 2 === 0;
      for (const opcode of known) {
        const refused = writes.includes(opcode) || (exclusiveAccess && reads.includes(opcode));
        const status = bench.io.admit(bench.request(opcode));
        assert.equal(status === CONFLICT, refused, `type ${rtype}, opcode ${opcode.toString(16)}: ${status}`);
      }
    }
  }
});

test('a command that was admitted before meets the reservation when it runs', () => {
  const bench = new Bench();
  for (const opcode of [...READS, ...WRITES]) {
    if (opcode === IoOpcode.WriteUncorrectable) continue; // this device has none
    bench.reserve(null);
    const request = bench.request(opcode);
    assert.equal(bench.io.admit(request), 0, `opcode ${opcode.toString(16)}`);
    bench.reserve(held(2));
    bench.io.execute(request);
    assert.equal(request.status, CONFLICT);
  }
});

test('a path that is not there, and write protection, have no say about reservation commands but the path', () => {
  const bench = new Bench();
  bench.reserve(held(1), { readOnly: true });
  const request = bench.request(IoOpcode.ReservationAcquire);
  assert.equal(bench.io.admit(request), 0);
  bench.reserve(null, { pathStatus: Status.AnaInaccessible });
  assert.equal(bench.io.admit(bench.request(IoOpcode.ReservationAcquire)), Status.AnaInaccessible);
  bench.io.execute(request);
  assert.equal(request.status, Status.AnaInaccessible);
  assert.equal(bench.forwarded.length, 0);
});

test('reservation commands go to the control plane with their fields and keys, and end with its answer', () => {
  const bench = new Bench();
  const key = 0x8877_6655_4433_2211n;
  const sgl = { sglId: 1, nsid: 1 };
  const requests = [
    bench.queue.send(
      ReservationRegisterSqe,
      { opc: IoOpcode.ReservationRegister, ...sgl, sglLength: 16, rrega: 2, iekey: 1, cptpl: 3 },
      ReservationRegisterData.toBytes({ crkey: key, nrkey: 1n }),
    ),
    bench.queue.send(
      ReservationAcquireSqe,
      { opc: IoOpcode.ReservationAcquire, ...sgl, sglLength: 16, racqa: 1, rtype: 4 },
      ReservationAcquireData.toBytes({ crkey: 1n, prkey: key }),
    ),
    bench.queue.send(
      ReservationReleaseSqe,
      { opc: IoOpcode.ReservationRelease, ...sgl, sglLength: 8, rrela: 1, rtype: 6 },
      ReservationReleaseData.toBytes({ crkey: key }),
    ),
  ];
  assert.deepEqual(
    bench.forwarded.map(({ command }) => command),
    [
      { kind: 'register', rrega: 2, iekey: 1, cptpl: 3, crkey: key, nrkey: 1n },
      { kind: 'acquire', racqa: 1, iekey: 0, rtype: 4, crkey: 1n, prkey: key },
      { kind: 'release', rrela: 1, iekey: 0, rtype: 6, crkey: key },
    ],
  );
  assert.ok(requests.every(({ status }) => status === null));
  [0, CONFLICT, Status.InternalError].forEach((status, i) => {
    bench.forwarded[i]!.done(status, null);
    assert.equal(requests[i]!.status, status);
  });
  const short = bench.request(IoOpcode.ReservationRegister, { sglLength: 15 });
  assert.equal(bench.io.admit(short), Status.DataSglLengthInvalid | DNR);
  assert.equal(bench.io.admit(bench.request(IoOpcode.ReservationRegister, { nsid: 2 })), 0x400b);
  assert.equal(bench.io.admit(bench.request(IoOpcode.ReservationRegister, { nsid: 0xffffffff })), 0x400b);
});

test('a report is filled up with zeroes, and waits for memory before it asks', () => {
  const bench = new Bench();
  const report = (numd: number, values: object = {}): FakeRequest =>
    bench.queue.send(ReservationReportSqe, {
      opc: IoOpcode.ReservationReport,
      nsid: 1,
      eds: 1,
      numd,
      sglId: 0x5a,
      sglLength: (numd + 1) * 4,
      ...values,
    });
  bench.queue.starve = 1;
  const request = report(31);
  assert.equal(bench.forwarded.length, 0);
  bench.io.execute(request);
  assert.deepEqual(bench.forwarded[0]!.command, { kind: 'report', bytes: 128 });
  bench.forwarded[0]!.done(0, new Uint8Array(64).fill(7));
  assert.deepEqual([...request.reply!], [...new Uint8Array(64).fill(7), ...new Uint8Array(64)]);
});

test('a report with host identifiers of 64 bits, or of more than the host has room for', () => {
  const bench = new Bench();
  const admit = (values: Partial<ReservationReportSqe>): number => {
    const sqe = ReservationReportSqe.toBytes({ opc: IoOpcode.ReservationReport, nsid: 1, eds: 1, ...values });
    return bench.io.admit(new FakeRequest(bench.queue, 0, sqe, null));
  };
  assert.equal(admit({ eds: 0, sglLength: 4096 }), Status.HostIdentifierInconsistentFormat | DNR);
  assert.equal(admit({ numd: 1023, sglLength: 4095 }), Status.DataSglLengthInvalid | DNR);
  assert.equal(admit({ numd: 0xffffffff, sglLength: 4096 }), Status.InvalidField | DNR);
  assert.equal(admit({ numd: 1023, sglLength: 4096 }), 0);
});

test('where there is no control plane to ask, the commands do not exist', () => {
  const bench = new Bench(Csi.Nvm, false);
  for (const opcode of FREE) {
    const request = bench.request(opcode, { cdw11: 1 });
    assert.equal(bench.io.admit(request), 0);
    bench.io.execute(request);
    assert.equal(request.status, Status.InvalidOpcode | DNR);
  }
});
