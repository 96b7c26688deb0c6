import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { type Connection, DescriptorLedger, listenUnix, tcp } from '../src/index.ts';

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-unix-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const path = join(scratch, 'x.sock');

const drop = (connection: Connection): void => {
  connection.start({ received() {}, drained() {}, closed() {} });
  connection.destroy(null);
};

test('a unix socket is its owner’s alone, whatever the umask, and leaves nothing behind', async () => {
  const umask = process.umask(0);
  try {
    for (const [mode, bits] of [
      [undefined, 0o600],
      [0o660, 0o660],
    ] as const) {
      const listener = await listenUnix({ path, ...(mode === undefined ? {} : { mode }) }, drop);
      assert.equal(statSync(path).mode & 0o777, bits);
      assert.deepEqual(readdirSync(scratch), ['x.sock']);
      await assert.rejects(listenUnix({ path }, drop), { code: 'EADDRINUSE' });
      await listener.close();
      assert.deepEqual(readdirSync(scratch), []);
    }
  } finally {
    process.umask(umask);
  }
});

test('what is in the way of a unix socket is told, and left alone', async () => {
  writeFileSync(path, 'mine');
  await assert.rejects(listenUnix({ path }, drop), { code: 'EINVAL' });
  assert.equal(existsSync(path), true);
  rmSync(path);
  await assert.rejects(listenUnix({ path: join(scratch, 'no/where') }, drop), { code: 'ENOENT' });
  await assert.rejects(listenUnix({ path: join(scratch, 'x'.repeat(200)) }, drop), { code: 'EINVAL' });
  assert.deepEqual(readdirSync(scratch), []);
});

test('descriptors of a thread that is terminated are closed by its ledger', async () => {
  const ledger = new DescriptorLedger();
  const code = `
    import { workerData, parentPort } from 'node:worker_threads';
    const { currentEventLoop, DescriptorLedger, tcp } = await import(workerData.module);
    currentEventLoop().keep(new DescriptorLedger(workerData.ledger));
    const { local } = await tcp.listen({ address: '127.0.0.1', port: 0 }, () => {});
    const closed = await tcp.listen({ address: '127.0.0.1', port: 0 }, () => {});
    await closed.close();
    parentPort.postMessage(local.port);
    setInterval(() => {}, 1000);
  `;
  const module = new URL('../src/index.ts', import.meta.url).href;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
    workerData: { module, ledger: ledger.buffer },
  });
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  await worker.terminate();
  const again = () => tcp.listen({ address: '127.0.0.1', port }, () => {});
  await assert.rejects(again(), { code: 'EADDRINUSE' }, 'its listener has outlived it');
  assert.equal(ledger.closeAll(), 2, 'the listener and the epoll instance, not what was closed before');
  await (await again()).close();
  assert.equal(ledger.closeAll(), 0);
});
