import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import {
  type Connection,
  closeWakeFd,
  createWakeFd,
  currentEventLoop,
  EPOLLIN,
  tcp as tcpRow,
  wake,
} from '@nvbraid/transport';
import { closeAll, ended, link, Recorder, send, tracked, turns } from './harness.ts';

const tcp = tracked(tcpRow);

class Reactor {
  readonly wakeFd = createWakeFd();
  readonly worker = new Worker(new URL('./fixtures/reactor.ts', import.meta.url), {
    workerData: { wakeFd: this.wakeFd },
  });

  async message(key: string): Promise<Record<string, unknown>> {
    for (;;) {
      const message = await new Promise<Record<string, unknown>>((resolve) => this.worker.once('message', resolve));
      if (message[key] !== undefined) return message;
    }
  }

  post(message: object): void {
    this.worker.postMessage(message);
    wake(this.wakeFd);
  }

  async stop(): Promise<number> {
    const exit = new Promise<number>((resolve) => this.worker.once('exit', resolve));
    this.post({ stop: true });
    const code = await exit;
    closeWakeFd(this.wakeFd);
    return code;
  }
}

describe('event loop', { skip: tcp.unsupported() ?? false, timeout: 30_000 }, () => {
  afterEach(closeAll);

  test('an event of a closed descriptor does not reach the one that got its number', async () => {
    const loop = currentEventLoop();
    const [one, two] = [createWakeFd(), createWakeFd()];
    let successor = -1;
    let calls = 0;
    const stranger = { ready: () => assert.fail('an event of the closed descriptor') };
    const take = (own: number, other: number) => ({
      ready: () => {
        calls++;
        loop.remove(own);
        loop.remove(other);
        closeWakeFd(other);
        successor = createWakeFd();
        assert.equal(successor, other, 'the system gives the number out again');
        loop.add(successor, EPOLLIN, stranger);
      },
    });
    loop.add(one, EPOLLIN, take(one, two));
    loop.add(two, EPOLLIN, take(two, one));
    wake(one);
    wake(two);
    await turns(5);
    assert.equal(calls, 1);
    loop.remove(successor);
    closeWakeFd(one === successor ? two : one);
    closeWakeFd(successor);
    assert.equal(loop.watched, 0);
  });

  test('what is deferred outside a batch runs soon, not at once, in order', async () => {
    const loop = currentEventLoop();
    const order: number[] = [];
    loop.defer({ runDeferred: () => order.push(1) });
    loop.defer({
      runDeferred: () => {
        order.push(2);
        loop.defer({ runDeferred: () => order.push(3) });
      },
    });
    assert.deepEqual(order, []);
    await turns(2);
    assert.deepEqual(order, [1, 2, 3]);
  });

  test('a descriptor handed to a reactor thread: its bytes come and go there', async () => {
    const reactor = new Reactor();
    await reactor.message('ready');
    const links = await Promise.all([link(tcp, '127.0.0.1'), link(tcp, '127.0.0.1')]);
    const clients: Recorder[] = [];
    for (const { client, server } of links) {
      const before = new Recorder();
      const recorder = new Recorder();
      clients.push(recorder);
      client.start(recorder);
      server.start(before);
      send(client, 'icreq');
      await before.untilBytes(5);
      send(server, 'icresp');
      send(client, 'and more'); // waits in the kernel for the new owner
      reactor.post({ fd: server.detach() });
    }
    for (const recorder of clients) await recorder.untilBytes(14);
    for (const recorder of clients) assert.equal(recorder.text, 'icrespand more');
    const big = new Uint8Array(4 << 20).fill(0x61);
    for (const { client } of links) send(client, big);
    for (const recorder of clients) await recorder.untilBytes(14 + big.length);

    // Asynchronous work and timers of the thread complete although it likes to block in the system call.
    for (const [i, word] of ['file', 'timer', 'file and then more'].entries()) {
      const { client } = links[i % 2]!;
      const recorder = clients[i % 2]!;
      const before = recorder.receivedBytes;
      send(client, word);
      await recorder.untilBytes(before + word.length);
      assert.ok(recorder.text.endsWith(word));
    }

    const gone = reactor.message('closed');
    links[0]!.client.end();
    await ended(clients[0]!);
    assert.equal((await gone).open, 1);
    const last = reactor.message('closed');
    links[1]!.client.destroy(null);
    await Promise.all([ended(clients[1]!), last]);
    for (const { listener } of links) await listener.close();
    assert.equal(await reactor.stop(), 0);
  });

  test('connections that close inside the hand-over are told as closed there', async () => {
    const reactor = new Reactor();
    await reactor.message('ready');
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    const fd = server.detach();
    client.destroy(null);
    await ended(a);
    reactor.post({ fd });
    await reactor.message('closed');
    assert.equal(b.closedCalls, 0, 'the thread that gave it up hears nothing');
    await listener.close();
    assert.equal(await reactor.stop(), 0);
  });

  test('a reactor thread can be terminated while it waits', async () => {
    const reactor = new Reactor();
    await reactor.message('ready');
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const a = new Recorder();
    client.start(a);
    server.start(new Recorder());
    reactor.post({ fd: server.detach() });
    send(client, 'ping');
    await a.untilBytes(4);
    assert.equal(await reactor.worker.terminate(), 1);
    client.destroy(null);
    await ended(a);
    closeWakeFd(reactor.wakeFd);
    await listener.close();
  });

  test('threads terminated in the middle of a flood end alone', () => {
    const file = fileURLToPath(new URL('./fixtures/terminate.ts', import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 });
    assert.deepEqual([status, stdout], [0, 'all terminated\n'], stderr);
  });

  test('a dedicated loop on this thread runs what is attached, gives Node its turns, and stops', async () => {
    const loop = currentEventLoop();
    const { client, server, listener } = await link(tcp, '127.0.0.1');
    const [a, b] = [new Recorder(), new Recorder()];
    client.start(a);
    server.start(b);
    let left = 50;
    const echo = (connection: Connection) => (bytes: Uint8Array) => {
      if (--left === 0) loop.stop();
      send(connection, bytes);
    };
    a.onReceived = echo(client);
    b.onReceived = echo(server);
    let batches = 0;
    let wakes = 0;
    const done = loop.runDedicated({
      pendingWork: () => false,
      onWake: () => wakes++,
      afterBatch: () => batches++,
      waitMs: 5,
    });
    assert.ok(loop.wakeFd >= 0);
    wake(loop.wakeFd);
    wake(loop.wakeFd);
    send(client, 'ball');
    await done;
    assert.equal(loop.wakeFd, -1);
    assert.ok(batches >= 25, `${batches} batches`);
    assert.equal(wakes, 1);
    const before = b.receivedBytes + a.receivedBytes;
    await a.until(() => a.receivedBytes + b.receivedBytes > before);
    client.destroy(null);
    await ended(a, b);
    await listener.close();
    assert.equal(loop.watched, 0);
  });
});
