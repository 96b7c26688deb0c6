import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { NvbraidError, type Outbox } from '@nvbraid/base';
import { type BlockDevice, type Io, memoryDevice } from '@nvbraid/blockdev';
import { HostQueue, NvmeError } from '@nvbraid/host';
import { transports } from '@nvbraid/transport';
import { AdminOpcode, AnaState, Cns, IdentifyController, Lid, SmartLog, Status } from '@nvbraid/wire';
import { type ControllerOptions, connectController } from '../src/connect.ts';
import { pairDevice } from '../src/pair.ts';
import { createTarget, type Target, type TargetPort } from '../src/target.ts';

const NQN = 'nqn.2014-08.org.nvmexpress:uuid:0a5a4f2e-6c06-4bd4-8a39-d2b2a4c4e4a1';
const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

interface Served {
  readonly target: Target;
  readonly port: TargetPort;
  readonly options: ControllerOptions;
}

async function serve(row = 'tcp', device: BlockDevice | null = null, reactors = 0): Promise<Served> {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: device ?? memoryDevice({ size: 8 << 20, blockSize: 512 }) });
  const port = await target.listen({ transport: row, address: '127.0.0.1', port: 0, subsystems: [NQN] });
  cleanups.push(() => target.close());
  return { target, port, options: { transport: row, traddr: port.address, trsvcid: port.port, nqn: NQN } };
}

function pattern(length: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 9) * 13 + seed) & 0xff));
}

/** A device whose reads and writes end when the test says so. */
class HeldDevice implements BlockDevice {
  readonly lower = pairDevice();
  readonly blockSize = this.lower.blockSize;
  readonly blockCount = this.lower.blockCount;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly memory = null;
  readonly held: Io[] = [];
  hold = false;

  submit(io: Io): boolean {
    if (!this.hold) return this.lower.submit(io);
    this.held.push(io);
    return false;
  }

  release(): void {
    this.hold = false;
    for (const io of this.held.splice(0)) {
      this.lower.submit(io);
      io.done(io);
    }
  }

  async close(): Promise<void> {}
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

for (const row of ['tcp', 'net', 'loop']) {
  const skip = transports[row]!.unsupported() ?? false;
  test(`${row}: connect, write, read back, all commands, disconnect`, { skip }, async () => {
    for (const extra of [{}, { nrIoQueues: 3, hdrDigest: true, dataDigest: true, disableSqflow: true }]) {
      const { options, target } = await serve(row);
      const controller = await connectController({ ...options, ...extra });
      assert.equal(controller.state, 'live');
      assert.equal(controller.identify.subnqn, NQN);
      assert.equal(controller.nrIoQueues, extra.nrIoQueues ?? 1);
      const namespace = controller.namespace(1);
      assert.deepEqual([namespace.nsid, namespace.blockSize, namespace.blockCount], [1, 512, 16384]);
      // Longer than one command can be, and not a multiple of its size.
      const data = pattern(controller.maxTransferBytes * 2 + 1536, 1);
      await namespace.write(3, data);
      const back = Buffer.alloc(data.length);
      await namespace.read(3, back);
      assert.ok(back.equals(data));
      await namespace.write(5, pattern(512, 9), { fua: true });
      await namespace.flush();
      await namespace.writeZeroes(3, 2);
      await namespace.deallocate(10, 4);
      await namespace.deallocate([
        { slba: 20, blocks: 1 },
        { slba: 30, blocks: 2 },
      ]);
      const block = Buffer.alloc(3 * 512);
      await namespace.read(3, block);
      assert.ok(block.equals(Buffer.concat([Buffer.alloc(1024), pattern(512, 9)])));
      const stats = controller.stats();
      assert.equal(stats.errors, 0);
      assert.equal(stats.writtenBytes, data.length + 512);
      assert.equal(stats.inFlight, 0);
      assert.ok(stats.latency.count >= 7 && stats.latency.p50Us > 0 && stats.latency.p999Us <= stats.latency.maxUs);
      await controller.disconnect();
      assert.equal(controller.state, 'dead');
      await assert.rejects(namespace.read(0, block), { code: 'ENVME' });
      await until(() => target.stats().controllers === 0);
      await controller.disconnect();
    }
  });
}

test('with reactors', { skip: transports.tcp!.unsupported() ?? false }, async () => {
  const { options } = await serve('tcp', null, 1);
  const controller = await connectController({ ...options, nrIoQueues: 2 });
  const namespace = controller.namespace(1);
  const jobs = Array.from({ length: 64 }, async (_, i) => {
    const data = pattern(4096, i);
    await namespace.write(i * 8, data);
    const back = Buffer.alloc(4096);
    await namespace.read(i * 8, back);
    assert.ok(back.equals(data));
  });
  await Promise.all(jobs);
  await controller.disconnect();
});

test('more calls than the queue is deep wait their turn', async () => {
  const { options } = await serve('loop');
  const controller = await connectController({ ...options, queueSize: 16 });
  const namespace = controller.namespace(1);
  assert.equal(controller.queueSize, 16);
  const buffers = Array.from({ length: 500 }, (_, i) => pattern(512, i));
  await Promise.all(buffers.map((data, i) => namespace.write(i, data)));
  const all = Buffer.alloc(500 * 512);
  await namespace.read(0, all);
  assert.ok(all.equals(Buffer.concat(buffers)));
  await controller.disconnect();
});

test('buffers: any view of any memory, whole blocks only', async () => {
  const { options } = await serve('loop');
  const controller = await connectController(options);
  const namespace = controller.namespace(1);
  const backing = new Uint8Array(4096);
  await namespace.write(0, pattern(512, 3));
  await namespace.read(0, backing.subarray(100, 612));
  assert.ok(Buffer.from(backing.subarray(100, 612)).equals(pattern(512, 3)));
  assert.ok(backing.subarray(0, 100).every((byte) => byte === 0) && backing.subarray(612).every((byte) => byte === 0));
  const shared = new Uint8Array(new SharedArrayBuffer(512));
  await namespace.read(0, shared);
  assert.ok(Buffer.from(shared).equals(pattern(512, 3)));
  await namespace.read(0, new Uint8Array(0));
  await namespace.writeZeroes(0, 0);
  for (const [slba, length] of [
    [0, 100],
    [-1, 512],
    [0.5, 512],
    [Number.NaN, 512],
  ] as const) {
    await assert.rejects(namespace.read(slba, new Uint8Array(length)), { code: 'EINVAL' });
    await assert.rejects(namespace.write(slba, new Uint8Array(length)), { code: 'EINVAL' });
  }
  const resizable = new Uint8Array(new ArrayBuffer(512, { maxByteLength: 1024 }));
  await assert.rejects(namespace.read(0, resizable), { code: 'EINVAL' });
  const gone = new Uint8Array(512);
  structuredClone(gone, { transfer: [gone.buffer] });
  await assert.rejects(namespace.write(0, gone), { code: 'EINVAL', message: /transferred away/ });
  await controller.disconnect();
});

test('an error status: code, name, parts, and the block it is about', async () => {
  const { options } = await serve('loop');
  const controller = await connectController(options);
  const namespace = controller.namespace(1);
  await assert.rejects(namespace.read(16383, Buffer.alloc(1024)), (error: unknown) => {
    assert.ok(error instanceof NvmeError && error instanceof NvbraidError);
    assert.equal(error.code, 'ENVME');
    assert.equal(error.statusName, 'LBA Out of Range');
    assert.deepEqual([error.sct, error.sc, error.dnr, error.retryable], [0, 0x80, true, false]);
    assert.equal(error.message, 'Read at LBA 16383 (nsid 1): LBA Out of Range (sct 0h, sc 80h, DNR)');
    return true;
  });
  // In the middle of a call that is split: the part that failed is named, the others have ended before.
  const long = Buffer.alloc(controller.maxTransferBytes * 2);
  const slba = 16384 - controller.maxTransferBytes / 512;
  await assert.rejects(namespace.write(slba, long), { message: /Write at LBA 16384 / });
  assert.equal(controller.stats().errors, 2);
  await controller.disconnect();
});

test('the calls of one turn go out in one send, also those of many waiting callers', async (t) => {
  const { options } = await serve('loop');
  const controller = await connectController(options);
  const namespace = controller.namespace(1);
  const sends: number[] = [];
  const { transmit } = HostQueue.prototype;
  t.mock.method(HostQueue.prototype, 'transmit', function (this: HostQueue, out: Outbox): boolean {
    const before = this.commandsSent;
    const more = transmit.call(this, out);
    if (this.commandsSent > before) sends.push(this.commandsSent - before);
    return more;
  });
  await Promise.all(Array.from({ length: 10 }, (_, i) => namespace.read(i, Buffer.alloc(512))));
  assert.deepEqual(sends.splice(0), [10]);
  const caller = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await namespace.read(i, Buffer.alloc(512));
  };
  await Promise.all(Array.from({ length: 8 }, caller));
  assert.deepEqual(sends, [8, 8, 8, 8, 8]);
  await controller.disconnect();
});

// ------------------------------------------------------------------ AbortSignal

test('abort: the promise is rejected at once and the buffer is never written afterwards', async () => {
  const device = new HeldDevice();
  const { options } = await serve('loop', device);
  const controller = await connectController(options);
  const namespace = controller.namespace(1);
  await namespace.write(0, pattern(4096, 1));
  device.hold = true;
  const abort = new AbortController();
  const buffer = Buffer.alloc(4096);
  const pending = namespace.read(0, buffer, { signal: abort.signal });
  await until(() => device.held.length === 1);
  abort.abort(new Error('enough'));
  await assert.rejects(pending, (error: unknown) => {
    assert.ok(error instanceof NvbraidError);
    assert.equal(error.code, 'EABORTED');
    assert.equal((error.cause as Error).message, 'enough');
    return true;
  });
  assert.equal(controller.stats().inFlight, 0);
  device.release();
  // The late completion has been taken when a later command is done.
  const later = Buffer.alloc(512);
  await namespace.read(0, later);
  assert.ok(later.equals(pattern(4096, 1).subarray(0, 512)));
  assert.ok(buffer.every((byte) => byte === 0));
  assert.equal(controller.state, 'live');
  await controller.disconnect();
});

test('abort: before the call, while it waits for room, in the middle of a split call', async () => {
  const device = new HeldDevice();
  const { options } = await serve('loop', device);
  const controller = await connectController({ ...options, queueSize: 16 });
  const namespace = controller.namespace(1);
  const done = AbortSignal.abort();
  await assert.rejects(namespace.read(0, Buffer.alloc(512), { signal: done }), { code: 'EABORTED' });
  await assert.rejects(namespace.flush({ signal: done }), { code: 'EABORTED' });
  assert.equal(controller.stats().readCommands, 0);
  device.hold = true;
  const abort = new AbortController();
  const { signal } = abort;
  const fill = Array.from({ length: 15 }, () => namespace.read(0, Buffer.alloc(512)));
  const waits = namespace.read(0, Buffer.alloc(512), { signal });
  const long = namespace.write(0, Buffer.alloc(controller.maxTransferBytes * 2), { signal });
  await until(() => device.held.length === 15);
  abort.abort();
  await assert.rejects(waits, { code: 'EABORTED' });
  await assert.rejects(long, { code: 'EABORTED' });
  device.release();
  await Promise.all(fill);
  await namespace.write(0, pattern(512, 7));
  assert.equal(controller.state, 'live');
  await controller.disconnect();
});

test('abort: a call that waits for the controller to come back ends at once and holds on to nothing', async () => {
  const { options, target } = await serve('tcp');
  const controller = await connectController({ ...options, reconnectDelay: 60 });
  const namespace = controller.namespace(1);
  await target.close();
  await until(() => controller.state === 'connecting');
  const seen: WeakRef<ArrayBuffer>[] = [];
  const attempt = async (): Promise<void> => {
    const abort = new AbortController();
    const buffer = Buffer.from(new ArrayBuffer(512));
    seen.push(new WeakRef(buffer.buffer as ArrayBuffer));
    const pending = namespace.read(0, buffer, { signal: abort.signal });
    abort.abort();
    await assert.rejects(pending, { code: 'EABORTED' });
  };
  for (let i = 0; i < 20; i++) await attempt();
  assert.equal(controller.stats().inFlight, 0);
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  await new Promise((resolve) => setTimeout(resolve, 1));
  gc();
  // The last call's frame may still be on the stack.
  assert.ok(seen.filter((each) => each.deref() !== undefined).length <= 1);
  // One that is not aborted waits on.
  const waits = namespace.read(0, Buffer.alloc(512));
  assert.equal(controller.stats().inFlight, 1);
  await Promise.all([assert.rejects(waits, { code: 'ENVME' }), controller.disconnect()]);
});

// ------------------------------------------------------------------ admin commands

test('admin commands, log pages and identify', async () => {
  const { options } = await serve('loop');
  const controller = await connectController(options);
  const raw = await controller.admin({ opc: AdminOpcode.Identify, cdw10: Cns.Controller, dataLength: 4096 });
  assert.deepEqual([raw.status, raw.data.length], [0, 4096]);
  assert.ok(Buffer.from(raw.data).equals(Buffer.from(controller.identifyBytes)));
  const parsed = IdentifyController.parse(new DataView(raw.data.buffer, raw.data.byteOffset), 0);
  assert.equal(parsed.cntlid, controller.cntlid);
  assert.ok(Buffer.from(await controller.identifyRaw(Cns.Controller)).equals(Buffer.from(raw.data)));
  const smart = await controller.getLogPage(Lid.Smart, 512);
  assert.ok(SmartLog.parse(new DataView(smart.buffer), 0).ctemp > 0);
  const refused = await controller.admin({ opc: 0xc5 });
  assert.deepEqual([refused.sc, refused.statusName], [Status.InvalidOpcode, 'Invalid Command Opcode']);
  await assert.rejects(controller.getLogPage(0x99, 512), { code: 'ENVME', message: /Get Log Page 99h/ });
  await assert.rejects(controller.getLogPage(2, 3), { code: 'EINVAL' });
  await assert.rejects(controller.admin({ opc: 6, signal: AbortSignal.abort() }), { code: 'EABORTED' });
  await controller.disconnect();
  await assert.rejects(controller.admin({ opc: AdminOpcode.Identify, cdw10: 1, dataLength: 4096 }), { code: 'ENVME' });
});

test('events: a namespace that comes and goes', async () => {
  const { options, target } = await serve('loop');
  const controller = await connectController(options);
  const added = once(controller, 'namespaces');
  const nsid = await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
  assert.deepEqual(await added, [[nsid]]);
  assert.equal(controller.namespace(nsid).blockSize, 4096);
  const removed = once(controller, 'namespaces');
  await target.removeNamespace(NQN, nsid);
  await removed;
  assert.throws(() => controller.namespace(nsid), { code: 'ENOENT' });
  await controller.disconnect();
});

test('a namespace that another one replaces: the old object is gone, with what waits on it', async () => {
  const device = new HeldDevice();
  const { options, target } = await serve('loop', device);
  const controller = await connectController({ ...options, queueSize: 16 });
  const old = controller.namespace(1);
  await old.write(0, pattern(512, 1));
  device.hold = true;
  // Fifteen are with the target, the others wait for room in the queue.
  const calls = Array.from({ length: 20 }, (_, i) => old.write(i, pattern(512, 2)));
  const ended = Promise.allSettled(calls);
  await until(() => device.held.length === 15);
  const changed = once(controller, 'namespaces');
  void target.removeNamespace(NQN, 1);
  await changed;
  assert.ok(old.gone !== null);
  for (const call of await ended) {
    assert.ok(call.status === 'rejected');
    assert.deepEqual([call.reason.code, call.reason instanceof NvbraidError], ['ENOENT', true]);
    assert.match(call.reason.message, /^Write at LBA \d+ \(nsid 1\): namespace 1 of .* is there no more$/);
  }
  device.release();
  const back = once(controller, 'namespaces');
  await target.addNamespace(NQN, { nsid: 1, device: memoryDevice({ size: 1 << 20, blockSize: 4096 }) });
  await back;
  const fresh = controller.namespace(1);
  assert.notEqual(fresh, old);
  for (const call of [old.write(0, pattern(512, 3)), old.read(0, Buffer.alloc(512)), old.flush()]) {
    await assert.rejects(call, { code: 'ENOENT' });
  }
  await assert.rejects(old.writeZeroes(0, 1), { code: 'ENOENT' });
  await assert.rejects(old.deallocate(0, 1), { code: 'ENOENT' });
  const buffer = Buffer.alloc(4096, 1);
  await fresh.read(0, buffer);
  assert.ok(buffer.every((byte) => byte === 0));
  await controller.disconnect();
});

test('calls that wait for the controller to come back go to the disk they were meant for, or fail', async () => {
  const uuid = '11111111-2222-4333-8444-555555555555';
  const same = { blockSize: 512, uuid };
  const cases: [string, { blockSize: number; uuid: string; size?: number }, boolean][] = [
    ['the same disk', same, true],
    ['grown', { ...same, size: 2 << 20 }, true],
    ['another UUID', { ...same, uuid: '99999999-2222-4333-8444-555555555555' }, false],
    ['another block size', { ...same, blockSize: 4096 }, false],
  ];
  for (const [what, { blockSize, uuid: next, size }, goesOn] of cases) {
    const start = async (port: number, options: { blockSize: number; uuid: string }, bytes: number) => {
      const target = await createTarget({ reactors: 0 });
      cleanups.push(() => target.close());
      target.addSubsystem({ nqn: NQN });
      const device = memoryDevice({ size: bytes, blockSize: options.blockSize });
      await target.addNamespace(NQN, { device, uuid: options.uuid });
      return { target, port: await target.listen({ address: '127.0.0.1', port, subsystems: [NQN] }) };
    };
    const first = await start(0, same, 1 << 20);
    const where = { traddr: '127.0.0.1', trsvcid: first.port.port, nqn: NQN };
    const controller = await connectController({ ...where, reconnectDelay: 0.02 });
    const namespace = controller.namespace(1);
    await first.target.close();
    await until(() => controller.state === 'connecting');
    const waits = namespace.write(0, pattern(4096, 1));
    const outcome = waits.then(
      () => 'written',
      (error: NvbraidError) => error.code,
    );
    const second = await start(first.port.port, { blockSize, uuid: next }, size ?? 1 << 20);
    assert.equal(await outcome, goesOn ? 'written' : 'ENOENT', what);
    await until(() => controller.state === 'live');
    const now = controller.namespace(1);
    assert.deepEqual([now === namespace, namespace.gone === null], [goesOn, goesOn], what);
    assert.equal(now.size, size ?? 1 << 20, what);
    const block = Buffer.alloc(4096);
    await now.read(0, block);
    assert.ok(block.equals(goesOn ? pattern(4096, 1) : Buffer.alloc(4096)), what);
    await controller.disconnect();
    await second.target.close();
  }
});

// ------------------------------------------------------------------ losing the target

test('the target goes and comes back: calls under way are served by the next association', async () => {
  const first = await serve('tcp');
  const controller = await connectController({ ...first.options, reconnectDelay: 0.05, ctrlLossTmo: 30 });
  const namespace = controller.namespace(1);
  await namespace.write(0, pattern(512, 1));
  const anaLog = controller.anaLog;
  assert.deepEqual(
    anaLog?.groups.map(({ grpid, state, nsids }) => ({ grpid, state, nsids })),
    [{ grpid: 1, state: AnaState.Optimized, nsids: [1] }],
  );
  const anaChange = once(controller, 'ana-change');
  const lost = once(controller, 'state');
  await first.target.close();
  const [state, error] = await lost;
  assert.deepEqual([state, error instanceof NvbraidError], ['resetting', true]);
  const back = Buffer.alloc(512);
  const read = namespace.read(0, back);
  const target = await createTarget({ reactors: 0 });
  cleanups.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 8 << 20, blockSize: 512 }) });
  await target.listen({ transport: 'tcp', address: '127.0.0.1', port: first.port.port, subsystems: [NQN] });
  await read;
  assert.equal(controller.state, 'live');
  assert.deepEqual(await anaChange, [controller.anaLog]);
  assert.notEqual(controller.anaLog, anaLog);
  assert.ok(
    back.every((byte) => byte === 0),
    'the new target has a new disk',
  );
  assert.deepEqual([controller.stats().resets, controller.stats().reconnects], [1, 1]);
  await controller.disconnect();
});

test("without retries a lost connection is the caller's business", async () => {
  const device = new HeldDevice();
  const { options, target } = await serve('loop', device);
  const controller = await connectController({ ...options, maxRetries: 0, reconnectDelay: 0.05 });
  device.hold = true;
  const pending = controller.namespace(1).read(0, Buffer.alloc(512));
  await until(() => device.held.length === 1);
  void target.close();
  await assert.rejects(pending, { code: 'ENVME', statusName: 'Host Pathing Error' });
  device.release();
  await controller.disconnect();
});

test('the target goes for good: calls are rejected, `closed` says why', async () => {
  const { options, target } = await serve('tcp');
  const controller = await connectController({ ...options, reconnectDelay: 0.02, ctrlLossTmo: 0.1 });
  const namespace = controller.namespace(1);
  const closed = once(controller, 'closed');
  await target.close();
  await assert.rejects(namespace.read(0, Buffer.alloc(512)), (error: unknown) => {
    assert.ok(error instanceof NvmeError);
    assert.equal(error.statusName, 'Host Pathing Error');
    assert.equal((error.cause as NvbraidError).code, 'ECONNREFUSED');
    return true;
  });
  const [why] = await closed;
  assert.equal((why as NvbraidError).code, 'ECONNREFUSED');
  assert.equal(controller.state, 'dead');
});

// ------------------------------------------------------------------ not getting connected

test('refused: wrong options, nobody there, wrong subsystem, an aborted attempt', async () => {
  const { options } = await serve('tcp');
  const wrong: [Partial<ControllerOptions>, string][] = [
    [{ transport: 'carrier-pigeon' }, 'EINVAL'],
    [{ trsvcid: 'http' }, 'EINVAL'],
    [{ trsvcid: 70_000 }, 'EINVAL'],
    [{ nqn: '' }, 'EINVAL'],
    [{ nqn: 'x'.repeat(224) }, 'EINVAL'],
    [{ hostid: 'me' }, 'EINVAL'],
    [{ hostid: '00000000-0000-0000-0000-000000000000' }, 'EINVAL'],
    [{ nrIoQueues: 129 }, 'EINVAL'],
    [{ queueSize: 8 }, 'EINVAL'],
    [{ keepAliveTmo: -1 }, 'EINVAL'],
    [{ trsvcid: 1 }, 'ECONNREFUSED'],
    [{ nqn: 'nqn.2014-08.org.example:other' }, 'ENVME'],
    [{ signal: AbortSignal.abort() }, 'EABORTED'],
  ];
  for (const [extra, code] of wrong) {
    await assert.rejects(connectController({ ...options, ...extra }), { code }, JSON.stringify(extra));
  }
});

/** A server that takes connections and does what the test says with them. */
async function silentServer(onSocket: (socket: Socket) => void = () => {}): Promise<Server & { port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return Object.assign(server, { port: (server.address() as AddressInfo).port });
}

test('a server that does not speak NVMe/TCP, and one that says nothing at all', async () => {
  for (const row of ['tcp', 'net']) {
    const web = await silentServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'));
    const options = { transport: row, traddr: '127.0.0.1', nqn: NQN };
    await assert.rejects(connectController({ ...options, trsvcid: web.port }), { code: 'EPROTO' });
    const closing = await silentServer((socket) => socket.destroy());
    await assert.rejects(connectController({ ...options, trsvcid: closing.port }), { code: 'ECONNRESET' });
    const mute = await silentServer();
    const abort = new AbortController();
    const attempt = connectController({ ...options, trsvcid: mute.port, signal: abort.signal });
    setTimeout(() => abort.abort(), 20);
    await assert.rejects(attempt, { code: 'EABORTED' });
  }
});
