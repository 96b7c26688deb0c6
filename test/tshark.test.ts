/*
 * What is on the wire is what an independent decoder understands: normal sessions and error stories are captured on the
 * loopback and decoded by tshark, which must find no malformed field, and the PDUs that were meant.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { Fes, PduType, Property, Status } from '@nvbraid/wire';
import { type ConnectOptions, connectController, createTarget, discover, type Target } from 'nvbraid';
import { RawClient } from './support/raw-client.ts';
import { type Agreed, command, connectCapsule, h2cData, icReq, propertySet, rw, termReq } from './support/raw-pdu.ts';

const NQN = 'nqn.2026-01.io.nvbraid:captured';
const MARK = 'nqn.2026-01.io.nvbraid:end-of-the-capture';
const BLOCK = 512;
const PATIENCE_MS = 30_000;
const PLAIN: Agreed = { hdgst: false, ddgst: false };
const HEADERS: Agreed = { hdgst: true, ddgst: false };
const DATA: Agreed = { hdgst: false, ddgst: true };
/** As tshark numbers the outcome of its own check. */
const DIGEST_GOOD = '1';
const CC_ENABLE = 0x00460001n;

interface Story {
  name: string;
  run(port: number): Promise<void>;
  /** Types of PDU that must be seen. */
  types: readonly number[];
  /** What tshark must find of the digests, each for itself. */
  digests?: 'good' | 'one bad';
  /** Fatal error status of the TermReq, when there is one. */
  fes?: number;
  /** Status of a completion that must be seen. */
  status?: number;
}

const { ICReq, ICResp, CapsuleCmd, CapsuleResp, H2CData, C2HData, R2T } = PduType;
const SESSION = [ICReq, ICResp, CapsuleCmd, CapsuleResp, C2HData];
const TERM = [ICReq, PduType.C2HTermReq];

const STORIES: readonly Story[] = [
  {
    name: 'a session without digests',
    run: (port) => session(port, { nrIoQueues: 2 }),
    types: [...SESSION, H2CData, R2T],
  },
  {
    name: 'a session with both digests',
    run: (port) => session(port, { hdrDigest: true, dataDigest: true }),
    digests: 'good',
    types: [...SESSION, H2CData, R2T],
  },
  {
    name: 'a session without SQ flow control',
    run: (port) => session(port, { disableSqflow: true, hdrDigest: true }),
    types: [...SESSION, H2CData, R2T],
  },
  {
    name: 'discovery',
    run: async (port) => assert.ok((await discover({ traddr: '127.0.0.1', trsvcid: port })).records.length > 0),
    types: SESSION,
  },
  {
    name: 'Connect to a subsystem that does not exist',
    run: async (port) => {
      const client = await RawClient.open(port);
      const reply = await client.ask(connectCapsule(PLAIN, 1, { subnqn: `${NQN}.none` }));
      assert.ok(reply.kind === 'Completion' && reply.status !== 0);
      client.close();
    },
    types: [ICReq, ICResp, CapsuleCmd, CapsuleResp],
    status: 0x182,
  },
  {
    name: 'a command before Connect',
    run: (port) => refused(port, command(PLAIN, 3, 0x06, 4096, { nsid: 0, cdw10: 1 })),
    types: [ICReq, ICResp, CapsuleCmd, CapsuleResp],
    status: Status.CommandSequenceError,
  },
  {
    name: 'a read beyond the end',
    run: async (port) => {
      const { client } = await ioQueue(port, PLAIN);
      const reply = await client.ask(rw(PLAIN, 9, 0x02, { slba: 1 << 24, nlb: 1, length: BLOCK }));
      assert.ok(reply.kind === 'Completion');
      client.close();
    },
    types: [CapsuleCmd, CapsuleResp],
    status: Status.LbaOutOfRange,
  },
  {
    name: 'a damaged header digest',
    digests: 'one bad',
    run: async (port) => {
      const pdu = connectCapsule(HEADERS, 1, { subnqn: NQN });
      pdu[72]! ^= 0x10;
      await fatal(await RawClient.open(port, { hdgst: 1 }), pdu);
    },
    types: TERM,
    fes: Fes.HeaderDigestError,
  },
  {
    name: 'a damaged data digest',
    digests: 'one bad',
    run: async (port) => {
      const { client } = await ioQueue(port, DATA);
      const pdu = rw(DATA, 4, 0x01, { slba: 0, nlb: 1 }, new Uint8Array(BLOCK).fill(7));
      pdu[pdu.length - 1]! ^= 1;
      const reply = await client.ask(pdu);
      assert.ok(reply.kind === 'Completion');
      client.close();
    },
    types: [CapsuleCmd, CapsuleResp],
    status: Status.TransientTransportError,
  },
  {
    name: 'the host says goodbye with H2CTermReq',
    run: async (port) => {
      const client = await RawClient.open(port);
      client.send(termReq(Fes.PduSequenceError));
      await client.untilEnded();
      assert.equal(client.replies.length, 1, 'nothing after the ICResp');
    },
    types: [ICReq, ICResp, PduType.H2CTermReq],
    fes: Fes.PduSequenceError,
  },
  {
    name: 'a PDU that only controllers send',
    run: async (port) => {
      const pdu = command(PLAIN, 1, 0x02, 0).slice(0, 24);
      pdu.set([PduType.CapsuleResp, 0, 24, 0, 24, 0, 0, 0]);
      await fatal(await RawClient.open(port), pdu);
    },
    types: TERM,
    fes: Fes.PduSequenceError,
  },
  {
    name: 'a second ICReq',
    run: async (port) => fatal(await RawClient.open(port), icReq()),
    types: TERM,
    fes: Fes.PduSequenceError,
  },
  {
    name: 'a PDU format version that does not exist',
    run: async (port) => fatal(await RawClient.connect(port), icReq({ pfv: 1 })),
    types: TERM,
    fes: Fes.UnsupportedParameter,
  },
  {
    name: 'a capsule whose length is wrong',
    run: async (port) => {
      const pdu = command(PLAIN, 1, 0x02, 0);
      pdu[4] = 71;
      await fatal(await RawClient.open(port), pdu);
    },
    types: TERM,
    fes: Fes.InvalidPduHeaderField,
  },
  {
    name: 'data outside of what R2T asked for',
    run: async (port) => {
      const { client } = await ioQueue(port, PLAIN);
      const r2t = await client.ask(rw(PLAIN, 5, 0x01, { slba: 0, nlb: 32, length: 32 * BLOCK }));
      assert.ok(r2t.kind === 'R2T');
      await fatal(client, h2cData(PLAIN, { cccid: 5, ttag: r2t.ttag, datao: 32 * BLOCK }, new Uint8Array(BLOCK)));
    },
    types: [R2T, H2CData, PduType.C2HTermReq],
    fes: Fes.DataTransferOutOfRange,
  },
];

/** Everything that our host and our target say to each other in normal times. */
async function session(port: number, options: Omit<ConnectOptions, 'traddr' | 'nqn'>): Promise<void> {
  const controller = await connectController({ ...options, traddr: '127.0.0.1', trsvcid: port, nqn: NQN });
  const ns = controller.namespace(1);
  const small = Buffer.alloc(BLOCK, 1);
  const large = Buffer.alloc(256 * BLOCK, 2);
  await Promise.all([ns.write(0, small), ns.write(8, large, { fua: true })]);
  await ns.flush();
  await ns.writeZeroes(2, 4);
  await ns.deallocate(300, 8);
  await ns.read(8, large);
  assert.equal(large[0], 2);
  await assert.rejects(ns.read(ns.blockCount, small), { code: 'ENVME' });
  await controller.getLogPage(0x02, 512);
  await controller.disconnect();
}

/** An I/O queue of an enabled controller, without our host. */
async function ioQueue(port: number, agreed: Agreed): Promise<{ client: RawClient; admin: RawClient }> {
  const ic = { hdgst: agreed.hdgst ? 1 : 0, ddgst: agreed.ddgst ? 1 : 0 };
  const admin = await RawClient.open(port);
  const connected = await admin.ask(connectCapsule(PLAIN, 0, { subnqn: NQN }));
  assert.ok(connected.kind === 'Completion' && connected.status === 0);
  await admin.ask(propertySet(PLAIN, 1, Property.CC, CC_ENABLE));
  const client = await RawClient.open(port, ic);
  const joined = await client.ask(connectCapsule(agreed, 0, { subnqn: NQN, qid: 1, cntlid: connected.dw0 & 0xffff }));
  assert.ok(joined.kind === 'Completion' && joined.status === 0);
  return { client, admin };
}

async function refused(port: number, pdu: Uint8Array): Promise<void> {
  const client = await RawClient.open(port);
  const reply = await client.ask(pdu);
  assert.ok(reply.kind === 'Completion' && reply.status !== 0);
  client.close();
}

/** The target answers with C2HTermReq and closes. */
async function fatal(client: RawClient, pdu: Uint8Array): Promise<void> {
  const reply = await client.ask(pdu);
  assert.equal(reply.kind, 'TermReq');
  await client.untilEnded();
}

/** One packet with at least one PDU, as tshark sees it. */
interface Packet {
  port: number;
  types: number[];
  fes: number[];
  statuses: number[];
  digests: string[];
  complaints: string;
}

const FIELDS = {
  source: 'tcp.srcport',
  destination: 'tcp.dstport',
  type: 'nvme-tcp.type',
  c2hFes: 'nvme-tcp.c2htermreq.fes',
  h2cFes: 'nvme-tcp.h2ctermreq.fes',
  sct: 'nvme.cqe.status.sct',
  sc: 'nvme.cqe.status.sc',
  headerDigest: 'nvme-tcp.hdgst.status',
  dataDigest: 'nvme-tcp.ddgst.status',
  malformed: '_ws.malformed',
  expert: '_ws.expert.message',
  unknown: 'nvme-tcp.unknown_data',
} as const;

function decode(file: string, ports: readonly number[]): Packet[] {
  const args = ['-r', file, '-Y', 'nvme-tcp || _ws.malformed', '-T', 'fields', '-E', 'separator=|'];
  for (const port of ports) args.push('-d', `tcp.port==${port},nvme-tcp`);
  for (const name of ['hdgst', 'ddgst']) args.push('-o', `nvme-tcp.check_${name}:TRUE`);
  for (const field of Object.values(FIELDS)) args.push('-e', field);
  const result = spawnSync('tshark', args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  assert.equal(result.status, 0, result.stderr);
  const lines = result.stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const cells = line.split('|');
    const cell = (name: keyof typeof FIELDS): string => cells[Object.keys(FIELDS).indexOf(name)] ?? '';
    const numbers = (name: keyof typeof FIELDS): number[] => cell(name).split(',').filter(Boolean).map(Number);
    const sct = numbers('sct');
    return {
      port: ports.find((port) => cell('source') === String(port) || cell('destination') === String(port))!,
      types: numbers('type'),
      fes: [...numbers('c2hFes'), ...numbers('h2cFes')],
      statuses: numbers('sc').map((sc, i) => (sct[i]! << 8) | sc),
      digests: [...cell('headerDigest').split(','), ...cell('dataDigest').split(',')].filter(Boolean),
      // Completions of commands that nobody sent are data of an unknown kind: in our direction there must be none.
      complaints: [cell('malformed'), cell('expert'), ports.includes(Number(cell('source'))) ? cell('unknown') : '']
        .join(' ')
        .trim(),
    };
  });
}

function unsupported(): string | false {
  for (const tool of ['tshark', 'dumpcap']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined) return `${tool} is absent`;
  }
  return process.getuid?.() === 0 ? false : 'only root may capture packets';
}

describe('captures decoded by tshark', { skip: unsupported(), concurrency: false }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'nvbraid-capture-'));
  let target: Target;
  let packets: Packet[];
  const ports: number[] = [];
  const failures = new Map<string, unknown>();

  before(async () => {
    target = await createTarget();
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: memoryDevice({ size: 4 << 20, blockSize: BLOCK }) });
    for (let i = 0; i <= STORIES.length; i++) {
      const at = { address: '127.0.0.1', port: 0, subsystems: [NQN] };
      ports.push((await target.listen({ transport: 'tcp', ...at })).port);
    }
    const file = join(dir, 'loopback.pcapng');
    await captured(file, async () => {
      for (const [i, story] of STORIES.entries()) {
        await story.run(ports[i]!).catch((error: unknown) => failures.set(story.name, error));
      }
    });
    packets = decode(file, ports);
  });

  after(async () => {
    await target?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** Captures while `run` runs, until the last packet is in the file. */
  async function captured(file: string, run: () => Promise<void>): Promise<void> {
    const filter = ports.map((port) => `tcp port ${port}`).join(' or ');
    const dumpcap = spawn('dumpcap', ['-q', '-i', 'lo', '-f', filter, '-w', file], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const gone = new Promise((resolve) => dumpcap.once('close', resolve));
    try {
      await new Promise<void>((resolve, reject) => {
        let said = '';
        dumpcap.stderr.on('data', (text: Buffer) => {
          said += text;
          if (said.includes('File:')) resolve();
        });
        void gone.then(() => reject(new Error(`dumpcap: ${said}`)));
      });
      await run();
      await refused(ports.at(-1)!, connectCapsule(PLAIN, 1, { subnqn: MARK }));
      const deadline = performance.now() + PATIENCE_MS;
      while (!readFileSync(file).includes(MARK)) {
        assert.ok(performance.now() < deadline, 'the capture does not see the loopback');
        await sleep(100);
      }
    } finally {
      dumpcap.kill('SIGINT');
      await gone;
    }
  }

  for (const [i, story] of STORIES.entries()) {
    test(story.name, () => {
      const failure = failures.get(story.name);
      if (failure !== undefined) throw failure;
      const mine = packets.filter((packet) => packet.port === ports[i]);
      assert.deepEqual(
        mine.map((packet) => packet.complaints).filter((complaint) => complaint !== ''),
        [],
      );
      const types = new Set(mine.flatMap((packet) => packet.types));
      for (const type of story.types)
        assert.ok(types.has(type), `no PDU of type ${type}, only ${[...types].join(' ')}`);
      if (story.digests !== undefined) {
        const digests = mine.flatMap((packet) => packet.digests);
        const bad = digests.filter((digest) => digest !== DIGEST_GOOD).length;
        assert.ok(digests.length > 0);
        assert.equal(bad, story.digests === 'good' ? 0 : 1);
      }
      const fes = mine.flatMap((packet) => packet.fes);
      assert.deepEqual(fes, story.fes === undefined ? [] : [story.fes]);
      if (story.status !== undefined) {
        const statuses = mine.flatMap((packet) => packet.statuses);
        assert.ok(
          statuses.includes(story.status),
          `statuses ${statuses.map((status) => status.toString(16)).join(' ')}`,
        );
      }
    });
  }
});
