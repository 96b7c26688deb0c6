/* Sessions as a correct host holds them: what is mutated. */
import assert from 'node:assert/strict';
import { Memory, type Rng } from '@nvbraid/base';
import type { QueueOptions } from '@nvbraid/target';
import { DISCOVERY_NQN, DSM_RANGE_SIZE, DsmRange, DsmSqe, Property, SglId } from '@nvbraid/wire';
import {
  type Agreed,
  capsule,
  command,
  connectCapsule,
  connectCntlidOffset,
  h2cData,
  icReq,
  propertyGet,
  propertySet,
  rw,
  seal,
} from '../support/raw-pdu.ts';
import { type Reply, ReplyReader } from '../support/replies.ts';
import { BLOCK, type FuzzConnection, type FuzzTarget, NQN } from './fuzz-target.ts';

export interface Session {
  name: string;
  kind: 'admin' | 'io' | 'discovery';
  agreed: Agreed;
  options: QueueOptions;
  pdus: Uint8Array[];
}

const CC_ENABLE = 0x00460001n;
const CC_SHUTDOWN = 0x00464001n;

/** Gives one PDU and reads what comes back; used to record sessions. */
class Recorder {
  readonly pdus: Uint8Array[] = [];
  readonly connection: FuzzConnection;
  readonly #reader = new ReplyReader();

  constructor(connection: FuzzConnection, hpda: number) {
    this.connection = connection;
    this.#reader.framer.dataAlign = (hpda + 1) * 4;
  }

  say(pdu: Uint8Array): Reply[] {
    this.pdus.push(pdu);
    this.connection.give(Memory.over(pdu), 0, pdu.length);
    return this.connection.take().flatMap((bytes) => this.#reader.read(bytes));
  }

  /** A command that must succeed. */
  succeed(pdu: Uint8Array): Reply[] {
    const replies = this.say(pdu);
    const last = replies.at(-1)!;
    assert.ok(
      (last.kind === 'Completion' && last.status === 0) || (last.kind === 'Data' && last.success),
      show(replies),
    );
    return replies;
  }

  /** A write whose data the controller asks for, sent in pieces of at most `piece` bytes. */
  transfer(agreed: Agreed, pdu: Uint8Array, data: Uint8Array, piece: number): void {
    const asked = this.say(pdu);
    for (let i = 0; i < asked.length; i++) {
      const r2t = asked[i]!;
      if (r2t.kind === 'Completion') assert.equal(r2t.status, 0);
      if (r2t.kind !== 'R2T') continue;
      for (let at = 0; at < r2t.length; at += piece) {
        const length = Math.min(piece, r2t.length - at);
        const from = r2t.offset + at;
        const values = { cccid: r2t.cid, ttag: r2t.ttag, datao: from };
        asked.push(
          ...this.say(h2cData(agreed, values, data.subarray(from, from + length), at + length === r2t.length)),
        );
      }
    }
    assert.ok(asked.at(-1)!.kind === 'Completion', show(asked));
  }
}

const show = (replies: readonly Reply[]): string => JSON.stringify(replies);

/** All kinds of sessions with all agreements, some bounds chosen by chance. */
export function recordSessions(target: FuzzTarget, rng: Rng): Session[] {
  const sessions: Session[] = [];
  for (const hdgst of [false, true]) {
    for (const ddgst of [false, true]) {
      for (const kind of ['admin', 'io', 'io', 'discovery'] as const) {
        const cpda = rng.pick([0, 0, 1, 7]);
        const agreed = { hdgst, ddgst, align: (cpda + 1) * 4 };
        const options = { cpda, r2tBytes: rng.pick([4096, 8192, 1 << 20]), maxH2CDataBytes: rng.pick([4096, 65536]) };
        sessions.push(record(target, kind, agreed, options, rng));
      }
    }
  }
  return sessions;
}

function record(target: FuzzTarget, kind: Session['kind'], agreed: Agreed, options: QueueOptions, rng: Rng): Session {
  const hpda = rng.pick([0, 0, 3, 31]);
  const connection = target.open(options);
  const host = new Recorder(connection, hpda);
  const ic = { hdgst: agreed.hdgst ? 1 : 0, ddgst: agreed.ddgst ? 1 : 0, hpda, maxr2t: rng.pick([0, 1, 15]) };
  assert.equal(host.say(icReq(ic))[0]!.kind, 'ICResp');
  if (kind === 'io') {
    const association = openAssociation(target);
    ioCommands(host, agreed, association.cntlid, rng);
    connection.close();
    association.connection.close();
  } else {
    adminCommands(host, agreed, kind === 'discovery' ? DISCOVERY_NQN : NQN);
    connection.close();
  }
  const name = `${kind}${agreed.hdgst ? ' hdgst' : ''}${agreed.ddgst ? ' ddgst' : ''}`;
  return { name, kind, agreed, options, pdus: host.pdus };
}

function adminCommands(host: Recorder, agreed: Agreed, subnqn: string): void {
  const discovery = subnqn === DISCOVERY_NQN;
  host.succeed(connectCapsule(agreed, 0, { subnqn }));
  host.succeed(propertyGet(agreed, 1, Property.CAP, true));
  host.succeed(propertyGet(agreed, 2, Property.VS));
  host.succeed(propertySet(agreed, 3, Property.CC, CC_ENABLE));
  host.succeed(propertyGet(agreed, 4, Property.CSTS));
  host.succeed(command(agreed, 5, 0x06, 4096, { nsid: 0, cdw10: 1 }));
  if (!discovery) {
    host.succeed(command(agreed, 6, 0x06, 4096, { cdw10: 0 }));
    host.succeed(command(agreed, 7, 0x06, 4096, { cdw10: 3 }));
    host.succeed(command(agreed, 8, 0x06, 4096, { nsid: 0, cdw10: 2 }));
    host.succeed(command(agreed, 9, 0x09, 0, { nsid: 0, cdw10: 0x07, cdw11: 0x00030003 }));
    host.succeed(command(agreed, 10, 0x0a, 0, { nsid: 0, cdw10: 0x0f }));
    for (const lid of [0x01, 0x02, 0x05]) {
      host.succeed(command(agreed, lid + 16, 0x02, 512, { nsid: 0xffffffff, cdw10: (127 << 16) | lid }));
    }
  } else {
    host.succeed(command(agreed, 11, 0x02, 1024, { nsid: 0, cdw10: (255 << 16) | 0x70 }));
  }
  host.say(command(agreed, 12, 0x0c, 0, { nsid: 0 })); // stays under way
  host.succeed(command(agreed, 13, 0x18, 0, { nsid: 0 }));
  host.say(command(agreed, 14, 0x08, 0, { nsid: 0, cdw10: 12 << 16 }));
  host.succeed(propertySet(agreed, 15, Property.CC, CC_SHUTDOWN));
}

function ioCommands(host: Recorder, agreed: Agreed, cntlid: number, rng: Rng): void {
  const cattr = rng.pick([0, 4]);
  host.succeed(connectCapsule(agreed, 0, { subnqn: NQN, qid: 1, cntlid, sqSize: rng.pick([8, 32, 128]), cattr }));
  const data = new Uint8Array(24 * BLOCK);
  rng.fill(data);
  host.succeed(rw(agreed, 1, 0x01, { slba: 3, nlb: 2 }, data.subarray(0, 2 * BLOCK)));
  const piece = rng.pick([1024, 4096]);
  host.transfer(agreed, rw(agreed, 2, 0x01, { slba: 8, nlb: 24, length: data.length }), data, piece);
  const read = host.succeed(rw(agreed, 3, 0x02, { slba: 8, nlb: 24, length: data.length }))[0]!;
  assert.ok(read.kind === 'Data' && Buffer.from(read.data).equals(data));
  host.succeed(command(agreed, 4, 0x00, 0));
  host.succeed(rw(agreed, 5, 0x08, { slba: 8, nlb: 4 }));
  const range = DsmRange.toBytes({ slba: 40, nlb: 8 });
  const sgl = { sglLength: DSM_RANGE_SIZE, sglId: SglId.inCapsule };
  const dsm = DsmSqe.toBytes({ cid: 6, opc: 0x09, psdt: 1, nsid: 1, nr: 0, ad: 1, ...sgl } as never);
  host.succeed(capsule(agreed, dsm, range));
  host.say(rw(agreed, 7, 0x02, { slba: 1 << 20, nlb: 1, length: BLOCK }));
  host.succeed(rw(agreed, 8, 0x01, { slba: 70, nlb: 1, fua: true }, data.subarray(0, BLOCK)));
}

export interface Association {
  connection: FuzzConnection;
  cntlid: number;
}

const PLAIN: Agreed = { hdgst: false, ddgst: false };

/** An enabled controller that I/O queues can join. */
export function openAssociation(target: FuzzTarget): Association {
  const connection = target.open();
  const reader = new ReplyReader();
  let cntlid = 0;
  const pdus = [icReq(), connectCapsule(PLAIN, 0, { subnqn: NQN }), propertySet(PLAIN, 1, Property.CC, CC_ENABLE)];
  for (const pdu of pdus) {
    connection.give(Memory.over(pdu), 0, pdu.length);
    for (const reply of connection.take().flatMap((bytes) => reader.read(bytes))) {
      if (reply.kind !== 'Completion') continue;
      assert.equal(reply.status, 0);
      if (reply.cid === 0) cntlid = reply.dw0 & 0xffff;
    }
  }
  return { connection, cntlid };
}

/** The PDUs of a session, as copies; I/O queues join `cntlid`. */
export function replay(session: Session, cntlid: number): Uint8Array[] {
  const pdus = session.pdus.map((pdu) => pdu.slice());
  if (session.kind === 'io') {
    const connect = pdus[1]!;
    new DataView(connect.buffer).setUint16(connectCntlidOffset(connect), cntlid, true);
    seal(connect, session.agreed);
  }
  return pdus;
}
