import assert from 'node:assert/strict';
import { FakeClock, Memory } from '@nvbraid/base';
import {
  type HostControllerOptions,
  HostRequest,
  HostSubsystem,
  type HostSubsystemOptions,
  type NamespaceHead,
  type NamespaceRegistry,
  NvmeBio,
} from '@nvbraid/host';
import { IoOpcode, RwSqe } from '@nvbraid/wire';
import { FakeController } from './fake-controller.ts';

const BLOCK = 512;

/** A read of one block by a head. */
export class ReadBio extends NvmeBio {
  ended = false;

  constructor(nsid = 1) {
    super(new HostRequest().reset(IoOpcode.Read, nsid));
    RwSqe.nlb.set(this.request.sqe.view, 0, 0);
    this.request.receives(Memory.alloc(BLOCK), 0, BLOCK);
    this.bytes = BLOCK;
    this.end = () => {
      assert.ok(!this.ended, 'a command ended twice');
      this.ended = true;
    };
  }
}

/** A subsystem of the host with controllers that say what a test lets them say. */
export class FakeSubsystem {
  readonly clock: FakeClock;
  readonly host: HostSubsystem;
  readonly controllers: FakeController[] = [];
  readonly log: string[] = [];
  readonly removed: NamespaceHead[] = [];

  constructor(
    options: Partial<HostSubsystemOptions> = {},
    { clock = new FakeClock(1000), registry }: { clock?: FakeClock; registry?: NamespaceRegistry } = {},
  ) {
    this.clock = clock;
    const events = {
      log: (line: string) => this.log.push(line),
      headRemoved: (head: NamespaceHead) => this.removed.push(head),
    };
    const all = { nqn: 'nqn.test:subsystem', safeFailover: false, ...options };
    this.host = new HostSubsystem(all, clock, events, registry);
  }

  /** A controller that is not started yet; reads of a block succeed unless a rule says otherwise. */
  add(options: Partial<HostControllerOptions> = {}): FakeController {
    const controller = new FakeController(
      { nqn: this.host.nqn, ...options },
      (...given) => this.host.addController(...given),
      this.clock,
    );
    controller.cntlid = this.controllers.length + 1;
    controller.nmic = 1;
    Object.assign(controller.identify, { cmic: 3, sn: 'SERIAL', mn: 'MODEL' });
    controller.rules.push(({ name }) => (name === 'I/O 02h' ? { data: new Uint8Array(BLOCK) } : undefined));
    this.controllers.push(controller);
    return controller;
  }

  /** Answers until nobody has anything more to say, heads included. */
  drive(): this {
    const now = this.clock.nowMs();
    for (const controller of this.controllers) controller.drive();
    while (this.host.nextDeadlineMs <= now) {
      this.host.tick(now);
      for (const controller of this.controllers) controller.drive();
    }
    return this;
  }

  run(ms: number, stepMs = 50): this {
    this.drive();
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      for (const { host } of this.controllers) host.tick(this.clock.nowMs());
      this.drive();
    }
    return this;
  }

  head(nsid = 1): NamespaceHead {
    const head = this.host.heads.get(nsid);
    assert.ok(head !== undefined, `namespace ${nsid} has no head: ${this.log.join('; ')}`);
    return head;
  }

  /** Names of the paths of a head; none without a head. */
  paths(nsid = 1): string[] {
    return (this.host.heads.get(nsid)?.paths ?? []).map(({ name }) => name);
  }

  read(nsid = 1): ReadBio {
    const bio = new ReadBio(nsid);
    this.head(nsid).submitBio(bio);
    this.drive();
    return bio;
  }
}
