import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TargetPort } from 'nvbraid';
import { connectLines } from '../src/listening.ts';

test('what serve tells to type fits the transport of the port: plain TCP would be refused by mptcp', () => {
  const lines = (transport: string) =>
    connectLines({ transport, address: '127.0.0.1', port: 4420 } as TargetPort, 'NQN');
  assert.deepEqual(lines('tcp'), ['On a Linux host:', '  nvme connect -t tcp -a 127.0.0.1 -s 4420 -n NQN']);
  assert.deepEqual(lines('net').slice(1), ['  nvme connect -t tcp -a 127.0.0.1 -s 4420 -n NQN']);
  assert.deepEqual(lines('mptcp').slice(1), ['  nvbraid connect -t mptcp -a 127.0.0.1 -s 4420 -n NQN']);
});
