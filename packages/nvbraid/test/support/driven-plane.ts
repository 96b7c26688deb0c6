import { FakeClock, Memory, type Outbox } from '@nvbraid/base';
import type { BlockDevice } from '@nvbraid/blockdev';
import type { NamespaceSnapshot, SubsystemSnapshot } from '@nvbraid/target';
import type { Connection, ConnectionHandler } from '@nvbraid/transport';
import { DataPlane, type DataPlaneOptions } from '../../src/data-plane.ts';
import { HostBlock } from '../../src/host-block.ts';
import { targetLimits } from '../../src/target-limits.ts';

const HOST = { hostnqn: 'nqn.2024-01.example.com:host', hostid: '0'.repeat(32), cntlid: 1 };

/** A connection whose other end is the test. */
export class FakeConnection {
  readonly backlogBytes = 0;
  readonly canDetach = false;
  paused = false;
  destroyed = false;
  readonly sent: Uint8Array[] = [];
  handler: ConnectionHandler | null = null;

  start(handler: ConnectionHandler): void {
    this.handler = handler;
  }
  send(out: Outbox): void {
    this.sent.push(out.toBytes());
    out.reset();
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {}
  destroy(): void {
    this.destroyed = true;
  }
  receive(bytes: Uint8Array): void {
    this.handler!.received(Memory.over(bytes), 0, bytes.length);
  }
}

export const NQN = 'nqn.2026-01.org.nvbraid:plane';

let versions = 0;
export function snapshot(devices: unknown[], portId = 1): SubsystemSnapshot {
  const namespaces = devices.map((device, i) => {
    const { blockSize = 4096, blockCount = 64 } = device as Partial<BlockDevice>;
    const plain = { readOnly: false, volatileWriteCache: false, thin: false, anaGroupId: 1, pathStatus: 0 };
    return { ...plain, nsid: i + 1, instance: instanceOf(device), blockSize, blockCount, device } as NamespaceSnapshot;
  });
  return { nqn: NQN, portId, version: ++versions, namespaces };
}

const instances = new Map<unknown, number>();
function instanceOf(device: unknown): number {
  if (!instances.has(device)) instances.set(device, instances.size + 1);
  return instances.get(device)!;
}

/** The data plane of one thread, driven by hand. */
export function drivenPlane(options: Partial<DataPlaneOptions> = {}) {
  const host = HostBlock.create(1);
  host.set({}, targetLimits({}, 1 << 20));
  const gone: number[] = [];
  const logged: string[] = [];
  const plane = new DataPlane({
    poolBytes: 1 << 20,
    threads: 1,
    row: 0,
    clock: new FakeClock(),
    nextTurn: () => {},
    limits: targetLimits({}, 1 << 20),
    limitMet: (_limit, sentence) => logged.push(sentence),
    queueGone: (_association, qid) => gone.push(qid),
    log: (message) => logged.push(message),
    ...options,
  });
  const adopt = (qid: number, sqSize = 64, lease?: SharedArrayBuffer): FakeConnection => {
    const connection = new FakeConnection();
    const bytes = { maxH2CDataBytes: 1 << 20, inCapsuleBytes: 8192, maxDataBytes: 1 << 20, r2tBytes: 1 << 20 };
    const agreed = { sqFlowControl: true, sqhd: 0, hdgst: false, ddgst: false, hpda: 0, maxR2t: 1 };
    plane.adopt(
      connection as unknown as Connection,
      { qid, sqSize, ...agreed, ...bytes },
      {
        ...{ association: 1, nqn: NQN, portId: 1, counters: new SharedArrayBuffer(64), host: HOST },
        ...{ traffic: new SharedArrayBuffer(4), block: host.buffer, blockId: 1 },
        ...(lease === undefined ? {} : { lease }),
      },
    );
    return connection;
  };
  return { plane, adopt, gone, logged };
}
