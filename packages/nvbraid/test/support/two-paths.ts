import assert from 'node:assert/strict';
import { Memory } from '@nvbraid/base';
import {
  type HostControllerOptions,
  HostRequest,
  HostSubsystem,
  type HostSubsystemOptions,
  type NamespaceHead,
  NvmeBio,
  type NvmePath,
} from '@nvbraid/host';
import { BioStatus } from '@nvbraid/multipath';
import type { Port } from '@nvbraid/target';
import { IoOpcode, RwSqe } from '@nvbraid/wire';
import { Pair, type PairHost, type PairOptions } from '../../src/pair.ts';

/** A command of a test: remembers how it ended. */
export class TestBio extends NvmeBio {
  ended = false;
  readonly memory: Memory;

  constructor(opcode: number, slba: number, data: Uint8Array, blockSize: number) {
    const request = new HostRequest().reset(opcode, 1);
    super(request);
    this.memory = Memory.over(data);
    RwSqe.slba.set(request.sqe.view, 0, slba);
    RwSqe.nlb.set(request.sqe.view, 0, data.length / blockSize - 1);
    if (opcode === IoOpcode.Read) request.receives(this.memory, 0, data.length);
    else request.sends(this.memory, 0, data.length);
    request.exact = true;
    this.changes = opcode !== IoOpcode.Read;
    this.offset = slba * blockSize;
    this.bytes = data.length;
    this.end = () => {
      assert.ok(!this.ended, 'a command ended twice');
      this.ended = true;
    };
  }

  get ok(): boolean {
    return this.ended && this.status === BioStatus.Ok;
  }
}

/** One subsystem, two ports, a host with a controller through each. */
export class TwoPaths extends Pair {
  readonly second: Port;
  readonly host2: HostSubsystem;
  readonly a: PairHost;
  readonly b: PairHost;
  readonly log: string[] = [];
  readonly anaChanges: string[] = [];
  removed: NamespaceHead[] = [];
  failovers = 0;

  constructor(
    options: Partial<HostSubsystemOptions> = {},
    controller: Partial<HostControllerOptions> = {},
    pair: PairOptions = {},
  ) {
    super(pair);
    this.hosts.length = 0;
    this.second = this.addPort();
    this.host2 = new HostSubsystem({ nqn: this.subsystem.nqn, ...options }, this.clock, {
      log: (message) => this.log.push(message),
      anaChange: (path, before) => this.anaChanges.push(`${path.name} ${before} -> ${path.anaState}`),
      headRemoved: (head) => this.removed.push(head),
      failover: () => this.failovers++,
    });
    this.driven.push(this.host2);
    const given = { reconnectDelayMs: 1000, keepAliveMs: 4000, ...controller };
    this.a = this.addHost(given, { subsystem: this.host2 });
    this.b = this.addHost(given, { subsystem: this.host2, port: this.second });
    for (const host of [this.a, this.b]) this.connect(host);
  }

  /** Heads have work of their own, which takes no time. */
  override drive(): void {
    super.drive();
    const now = this.clock.nowMs();
    while (this.host2 !== undefined && this.host2.nextDeadlineMs <= now) {
      this.host2.tick(now);
      super.drive();
    }
  }

  get head(): NamespaceHead {
    const head = this.host2.heads.get(1);
    assert.ok(head !== undefined, `there is no head: ${this.log.join('; ')}`);
    return head;
  }

  pathOf(host: PairHost): NvmePath {
    const path = this.head.paths.find(({ controller }) => controller === host.core);
    assert.ok(path !== undefined, 'the controller has no path');
    return path;
  }

  submit(bio: TestBio): TestBio {
    this.head.submitBio(bio);
    return bio;
  }

  readBlocks(slba: number, blocks: number): TestBio {
    const { blockSize } = this.head;
    return this.submit(new TestBio(IoOpcode.Read, slba, new Uint8Array(blocks * blockSize), blockSize));
  }

  writeBlocks(slba: number, blocks: number, fill: number): TestBio {
    const { blockSize } = this.head;
    return this.submit(new TestBio(IoOpcode.Write, slba, new Uint8Array(blocks * blockSize).fill(fill), blockSize));
  }

  /** Loses the connections of a host; it cannot come back before `reachable`. */
  cut(host: PairHost): void {
    host.unreachable = true;
    for (const link of this.links) if (link.open && isOf(link.host, host)) link.drop();
  }
}

function isOf(queue: unknown, host: PairHost): boolean {
  return queue === host.core.admin || host.core.ioQueues.includes(queue as never);
}
