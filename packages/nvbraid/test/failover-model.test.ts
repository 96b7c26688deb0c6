import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { BioFlag } from '@nvbraid/multipath';
import { AnaState, IoOpcode } from '@nvbraid/wire';
import { HistoryChecker, type ReadTicket, type WriteTicket } from '../src/history.ts';
import { type PairHost, pairDevice } from '../src/pair.ts';
import { LatchedDevice } from './support/latched-device.ts';
import { TestBio, TwoPaths } from './support/two-paths.ts';

/*
 * Whatever happens to paths, in whatever order: no command ends twice or never, none fails while a path may come back, and
 * no reader sees old data. NVBRAID_SEED repeats a run; NVBRAID_STEPS sets its length.
 */

const STEPS = Number(process.env.NVBRAID_STEPS ?? 400);
const REGION = 24;
/** Less than CQT grants to devices. */
const HELD_MS_MAX = 4000;
const STATES = [
  AnaState.Optimized,
  AnaState.Optimized,
  AnaState.NonOptimized,
  AnaState.Inaccessible,
  AnaState.PersistentLoss,
  AnaState.Change,
];

interface Flying {
  readonly bio: TestBio;
  readonly slba: number;
  readonly write: WriteTicket | null;
  readonly read: ReadTicket | null;
  aborted: boolean;
}

class Model {
  readonly rng: Rng;
  readonly slow = new LatchedDevice(pairDevice());
  readonly pair: TwoPaths;
  readonly checker: HistoryChecker;
  readonly ports: { setAnaState(grpid: number, state: AnaState): void }[];
  flying: Flying[] = [];
  /** Blocks of writes that were given up: they may run at any time. */
  readonly spoiled = new Set<number>();
  ended = 0;
  removed = false;
  /** The device has held nothing then. */
  heldMs = 0;

  constructor(seed: number, paths: number) {
    this.rng = new Rng(seed);
    const options = { reconnectDelayMs: 200, keepAliveMs: 1000, ctrlLossTmoMs: 3_600_000, ioTimeoutMs: 5000 };
    const policy = this.rng.pick(['numa', 'round-robin', 'queue-depth', 'service-time']);
    this.pair = new TwoPaths({ iopolicy: policy }, options, { device: this.slow });
    this.ports = [this.pair.port, this.pair.second];
    if (paths > 2) {
      const port = this.pair.addPort();
      this.ports.push(port);
      const host = this.pair.addHost({ ...options }, { subsystem: this.pair.host2, port });
      this.pair.connect(host);
    }
    this.checker = new HistoryChecker({ blockSize: 512, run: seed });
  }

  get hosts(): readonly PairHost[] {
    return this.pair.hosts;
  }

  /** For each block that is spoiled there is another one. */
  get region(): number {
    return REGION + this.spoiled.size;
  }

  step(): void {
    const { rng, pair } = this;
    const host = rng.pick(this.hosts);
    const dice = rng.below(100);
    if (dice < 30) this.#write();
    else if (dice < 50) this.#read();
    else if (dice < 58) pair.cut(host);
    else if (dice < 68) host.unreachable = false;
    else if (dice < 74) rng.pick(this.ports).setAnaState(1, rng.pick(STATES));
    else if (dice < 77) host.core.reset('by the test');
    else if (dice < 79) pair.subsystem.resizeNamespace(1, rng.pick([4096, 8192]));
    else if (dice < 83) this.slow.hold = rng.chance(0.5);
    else if (dice < 88) this.slow.release();
    else if (dice < 90) this.#abort();
    else if (dice < 95) pair.drive();
    else this.#pass(rng.pick([1, 50, 300, 1500, 6000]));
    if (this.slow.held.length === 0) this.heldMs = pair.clock.nowMs();
    this.#collect();
  }

  /** The device ends what it has within CQT: what a disk does that takes longer, time alone cannot tell. */
  #pass(ms: number): void {
    const { pair, slow } = this;
    const now = pair.clock.nowMs();
    if (slow.held.length > 0 && now + ms - this.heldMs > HELD_MS_MAX) {
      slow.hold = false;
      slow.release();
    }
    pair.run(ms);
  }

  #free(): number {
    for (let tries = 0; tries < 50; tries++) {
      const slba = this.rng.below(this.region);
      if (!this.spoiled.has(slba) && this.flying.every((one) => one.slba !== slba)) return slba;
    }
    return -1;
  }

  #write(): void {
    const slba = this.#free();
    if (slba < 0) return;
    const data = new Uint8Array(512);
    const write = this.checker.beginWrite(1, slba, 1, data);
    this.#submit(new TestBio(IoOpcode.Write, slba, data, 512), slba, write, null);
  }

  #read(): void {
    const slba = this.#free();
    if (slba < 0) return;
    const read = this.checker.beginRead(slba, 1);
    this.#submit(new TestBio(IoOpcode.Read, slba, new Uint8Array(512), 512), slba, null, read);
  }

  #submit(bio: TestBio, slba: number, write: WriteTicket | null, read: ReadTicket | null): void {
    this.flying.push({ bio, slba, write, read, aborted: false });
    this.pair.submit(bio);
  }

  /** As the user's AbortSignal does. */
  #abort(): void {
    if (this.flying.length === 0) return;
    const one = this.rng.pick(this.flying);
    if (one.bio.ended) return;
    one.aborted = true;
    const { bio } = one;
    bio.flags |= BioFlag.NoRetry;
    if (bio.request.state !== 0) (bio.path as ReturnType<TwoPaths['pathOf']>).controller.abort(bio.request);
    else this.pair.head.cancel(bio);
    assert.ok(bio.ended, 'an aborted command ends at once');
  }

  #collect(): void {
    for (const one of this.flying) {
      const { bio, write, read, slba } = one;
      if (!bio.ended) continue;
      this.ended++;
      if (!bio.ok) {
        assert.ok(
          one.aborted || this.removed,
          `a command failed: status ${bio.status}, ${bio.driverStatus.toString(16)}`,
        );
        if (write !== null) {
          this.checker.failWrite(write, true);
          this.spoiled.add(slba);
        } else this.checker.failRead(read!);
      } else if (write !== null) this.checker.completeWrite(write);
      else this.checker.completeRead(read!, bio.memory);
    }
    this.flying = this.flying.filter(({ bio }) => !bio.ended);
    assert.equal(this.checker.violation, null, JSON.stringify(this.checker.violation, null, 1));
  }

  /** Everything is well again: all commands end, and every block is as it must be. */
  finish(): void {
    const { pair, slow } = this;
    for (const host of this.hosts) host.unreachable = false;
    for (const port of this.ports) port.setAnaState(1, AnaState.Optimized);
    slow.hold = false;
    slow.release();
    pair.run(60_000);
    this.#collect();
    assert.equal(this.flying.length, 0, 'a command was forgotten');
    assert.equal(pair.host2.fences.pending.length, 0);
    for (let slba = 0; slba < this.region; slba++) {
      if (this.spoiled.has(slba)) continue;
      const read = this.checker.beginRead(slba, 1);
      this.#submit(new TestBio(IoOpcode.Read, slba, new Uint8Array(512), 512), slba, null, read);
    }
    pair.run(10);
    this.#collect();
    assert.equal(this.flying.length, 0);
    // A namespace that goes takes its commands with it.
    slow.hold = true;
    for (let i = 0; i < 8; i++) this.#write();
    pair.drive();
    pair.cut(this.rng.pick(this.hosts));
    this.removed = true;
    pair.subsystem.removeNamespace(1);
    slow.hold = false;
    slow.release();
    for (const host of this.hosts) host.unreachable = false; // it hears of the removal when it is back
    pair.run(60_000);
    this.#collect();
    assert.equal(this.flying.length, 0, 'a command outlived its namespace');
  }
}

for (const paths of [2, 3]) {
  test(`random trouble on ${paths} paths loses no command and shows no old data`, (t) => {
    const start = Number(process.env.NVBRAID_SEED ?? Math.floor(Math.random() * 2 ** 31));
    for (let run = 0; run < 4; run++) {
      const seed = start + run;
      t.diagnostic(`seed ${seed}`);
      const model = new Model(seed, paths);
      try {
        for (let i = 0; i < STEPS; i++) model.step();
        model.finish();
      } catch (error) {
        throw new Error(`seed ${seed} (NVBRAID_SEED=${seed}): ${(error as Error).stack}`, { cause: error });
      }
      assert.ok(model.ended > STEPS / 8);
    }
  });
}
