import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { isMemory, namespaceOptions } from '../src/device-choice.ts';

test('a file that is called memory is a file: it keeps its identity', () => {
  const file = { spec: fileDevice({ path: 'memory' }), name: 'memory', made: false };
  const memory = { spec: memoryDevice({ size: 4096 }), name: 'memory', made: true };
  assert.deepEqual([isMemory(file), isMemory(memory)], [false, true]);
  assert.equal(namespaceOptions(file).uuid, undefined);
  assert.notEqual(namespaceOptions(memory).uuid, namespaceOptions(memory).uuid);
});
