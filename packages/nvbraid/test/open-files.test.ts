import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { on } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Property } from '@nvbraid/wire';
import { RawPeer } from './support/raw-peer.ts';

/* A process that may open no more files: it says so and what to do, lives, and goes on when there are some again. */

const NQN = 'nqn.2026-01.org.nvbraid:files';

for (const transport of ['tcp', 'net']) {
  test(`without open files no connection is accepted over ${transport}; the others live, and it goes on when there are some`, {
    skip: process.platform === 'linux' ? false : 'ulimit',
  }, async () => {
    const script = join(import.meta.dirname, 'support', 'few-files.ts');
    const child = spawn('sh', ['-c', `ulimit -n 200 && exec "${process.execPath}" "${script}" ${transport}`], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    try {
      const messages = on(child, 'message');
      const next = async (kind: string): Promise<Record<string, unknown>> => {
        for (;;) {
          const { value } = (await messages.next()) as { value: [Record<string, unknown>] };
          if (value[0].kind === kind) return value[0];
        }
      };
      const { port, connections } = (await next('ready')) as { port: number; connections: number };
      assert.equal(connections, 72, 'what 200 files leave');
      const { admin } = await RawPeer.admin(port, NQN);
      child.send('take');
      assert.ok(((await next('taken')).count as number) > 50);
      const waiting = connect(port, '127.0.0.1');
      waiting.on('error', () => {});
      if (transport === 'tcp') {
        const { message } = await next('log');
        assert.match(
          String(message),
          /cannot accept connections on 127\.0\.0\.1:\d+: this process has too many open files/,
        );
        assert.match(String(message), /ulimit -n.*limits\.connections \(72\).*limit openFiles/);
      } else {
        // Node hangs up on those that it cannot accept, and does not tell.
        while (!waiting.closed) await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal((await admin.property(Property.CSTS)) & 1, 1, 'who is connected does not notice');
      child.send('give');
      await next('given');
      const later = await RawPeer.admin(port, NQN);
      assert.equal((await later.admin.property(Property.CSTS)) & 1, 1);
      for (const socket of [admin.socket, later.admin.socket, waiting]) socket.destroy();
    } finally {
      child.kill('SIGKILL');
    }
  });
}
