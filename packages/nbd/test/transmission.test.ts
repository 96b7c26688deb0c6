import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { IoResult } from '@nvbraid/blockdev';
import { NbdCommand, NbdCommandFlag, NbdError } from '@nvbraid/wire';
import { type Extent, MAX_PAYLOAD_BYTES, MAX_REQUESTS } from '../src/index.ts';
import { Client, concat, u32 } from './support/client.ts';
import { BLOCK, DEVICE_BYTES, exportsOf, memory, ScriptedDevice } from './support/devices.ts';

function connected(
  structured: boolean,
  options: { seed?: number; poolBytes?: number; allocation?: readonly Extent[] } = {},
): { client: Client; device: ScriptedDevice } {
  const device = new ScriptedDevice();
  const { allocation } = options;
  const client = new Client(
    exportsOf({ name: 'x', device, ...(allocation && { allocation: async () => allocation }) }),
    options,
  );
  client.go('x', { structured, allocation: allocation !== undefined });
  return { client, device };
}

function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  new Rng(seed).fill(bytes);
  return bytes;
}

/** The data of a reply to a read, without the offset of a structured one. */
function dataOf(client: Client, reply: { data: Uint8Array }): Uint8Array {
  return client.structured ? reply.data.slice(8) : reply.data;
}

for (const structured of [false, true]) {
  describe(`NBD requests with ${structured ? 'structured' : 'simple'} replies`, () => {
    test('a read returns what was written', () => {
      const { client, device } = connected(structured);
      const data = pattern(3 * BLOCK);
      const write = client.request(NbdCommand.Write, 2 * BLOCK, data.length, 0, data);
      assert.deepEqual(
        { ...client.reply(), data: null },
        { cookie: write, error: 0, flags: 1, type: structured ? 0 : -1, data: null },
      );
      client.request(NbdCommand.Read, 2 * BLOCK, data.length);
      const reply = client.reply(data.length);
      assert.deepEqual(dataOf(client, reply), data);
      if (structured) assert.equal(Number(new DataView(reply.data.buffer).getBigUint64(0)), 2 * BLOCK);
      assert.deepEqual(device.log, ['Write 1024+1536', 'Read 1024+1536']);
      assert.equal(client.pool.loanedBytes, 0);
    });

    test('flags reach the device', () => {
      const { client, device } = connected(structured);
      const { Fua, NoHole } = NbdCommandFlag;
      client.request(NbdCommand.Write, 0, BLOCK, Fua, pattern(BLOCK));
      client.request(NbdCommand.WriteZeroes, BLOCK, 4 * BLOCK, Fua);
      client.request(NbdCommand.WriteZeroes, BLOCK, 4 * BLOCK, NoHole);
      client.request(NbdCommand.Trim, 0, 2 * BLOCK);
      client.request(NbdCommand.Trim, 0, 2 * BLOCK, Fua);
      client.request(NbdCommand.Flush, 0, 0);
      assert.deepEqual(device.log, [
        'Write 0+512 fua',
        'WriteZeroes 512+2048 fua deallocate',
        'WriteZeroes 512+2048',
        'Deallocate 0+1024',
        'Deallocate 0+1024 fua',
        'Flush 0+0 fua',
        'Flush 0+0',
      ]);
      for (let i = 0; i < 6; i++) assert.equal(client.reply().error, 0);
    });

    test('what cannot be done is refused, and the next request is understood', () => {
      const { client, device } = connected(structured);
      const refused = (error: number, type: number, offset: number, length: number, flags = 0, data?: Uint8Array) => {
        const cookie = client.request(type, offset, length, flags, data);
        const reply = client.reply();
        assert.deepEqual([reply.cookie, reply.error], [cookie, error]);
      };
      refused(NbdError.EINVAL, NbdCommand.Read, 0, BLOCK - 1);
      refused(NbdError.EINVAL, NbdCommand.Read, 1, BLOCK);
      refused(NbdError.EINVAL, NbdCommand.Read, DEVICE_BYTES, BLOCK);
      refused(NbdError.EINVAL, NbdCommand.Read, 2 ** 63, BLOCK);
      refused(NbdError.ENOSPC, NbdCommand.Write, DEVICE_BYTES - BLOCK, 2 * BLOCK, 0, pattern(2 * BLOCK));
      refused(NbdError.EINVAL, NbdCommand.Write, 0, 5, 0, pattern(5));
      refused(NbdError.EOVERFLOW, NbdCommand.Read, 0, MAX_PAYLOAD_BYTES + BLOCK);
      refused(NbdError.EINVAL, NbdCommand.Read, 0, BLOCK, NbdCommandFlag.FastZero);
      refused(NbdError.EINVAL, NbdCommand.WriteZeroes, 0, BLOCK, NbdCommandFlag.FastZero);
      refused(NbdError.EINVAL, NbdCommand.WriteZeroes, 0, 0);
      refused(NbdError.EINVAL, NbdCommand.Cache, 0, BLOCK);
      refused(NbdError.EINVAL, NbdCommand.BlockStatus, 0, BLOCK);
      refused(NbdError.EINVAL, 99, 0, 0);
      device.readOnly = true;
      refused(NbdError.EPERM, NbdCommand.Write, 0, BLOCK, 0, pattern(BLOCK));
      refused(NbdError.EPERM, NbdCommand.WriteZeroes, 0, BLOCK);
      assert.deepEqual(device.log, []);
      client.request(NbdCommand.Read, 0, BLOCK);
      assert.equal(client.reply(BLOCK).error, 0);
    });

    test('a write that is too long is read past', () => {
      const { client } = connected(structured);
      client.request(NbdCommand.Write, 0, MAX_PAYLOAD_BYTES + BLOCK);
      assert.equal(client.reply().error, NbdError.EINVAL);
      const chunk = new Uint8Array(1 << 20);
      for (let at = 0; at < MAX_PAYLOAD_BYTES; at += chunk.length) client.send(chunk);
      client.send(new Uint8Array(BLOCK));
      client.request(NbdCommand.Flush, 0, 0);
      assert.equal(client.reply().error, 0);
    });

    test('failures of the device become errors', () => {
      const { client, device } = connected(structured);
      const cases: [IoResult, number][] = [
        [IoResult.MediaError, NbdError.EIO],
        [IoResult.NoSpace, NbdError.ENOSPC],
        [IoResult.ReadOnly, NbdError.EPERM],
        [IoResult.NotSupported, NbdError.ENOTSUP],
        [IoResult.Failed, NbdError.EIO],
      ];
      for (const [result, error] of cases) {
        device.result = result;
        client.request(NbdCommand.Write, 0, BLOCK, 0, pattern(BLOCK));
        assert.equal(client.reply().error, error);
        client.request(NbdCommand.Read, 0, BLOCK);
        assert.equal(client.reply().error, error);
      }
      assert.equal(client.pool.loanedBytes, 0);
    });

    test('replies come as operations end, in any order', () => {
      const { client, device } = connected(structured);
      device.hold = true;
      const cookies = [0, 1, 2].map((i) => client.request(NbdCommand.Read, i * BLOCK, BLOCK));
      assert.equal(client.pending, 0);
      assert.equal(client.session.outstanding, 3);
      device.release();
      assert.deepEqual(
        cookies.map(() => client.reply(BLOCK).cookie),
        cookies.reverse(),
      );
      assert.equal(client.session.outstanding, 0);
    });

    test('random requests, cut anywhere, agree with a model', () => {
      const seed = Math.floor(performance.now() * 1000) >>> 0;
      console.log(`seed ${seed}`);
      const rng = new Rng(seed);
      const device = memory();
      const client = new Client(exportsOf({ name: 'x', device }), { seed });
      client.go('x', { structured });
      const model = new Uint8Array(DEVICE_BYTES);
      for (let i = 0; i < 400; i++) {
        const blocks = rng.between(1, 9);
        const offset = rng.below(DEVICE_BYTES / BLOCK - blocks) * BLOCK;
        const length = blocks * BLOCK;
        const kind = rng.below(4);
        if (kind === 0) {
          const data = pattern(length, rng.u32());
          model.set(data, offset);
          client.request(NbdCommand.Write, offset, length, 0, data);
          assert.equal(client.reply().error, 0);
        } else if (kind === 1) {
          model.fill(0, offset, offset + length);
          client.request(NbdCommand.WriteZeroes, offset, length);
          assert.equal(client.reply().error, 0);
        } else {
          client.request(NbdCommand.Read, offset, length);
          assert.deepEqual(dataOf(client, client.reply(length)), model.slice(offset, offset + length));
        }
      }
    });
  });
}

describe('NBD sessions', () => {
  test('errors of structured replies say what is wrong', () => {
    const { client } = connected(true);
    client.request(NbdCommand.Read, 1, BLOCK);
    const { data, type } = client.reply();
    assert.equal(type, 0x8001);
    const length = new DataView(data.buffer).getUint16(4);
    assert.match(new TextDecoder().decode(data.slice(6, 6 + length)), /multiples of 512/);
  });

  test('block status: neighbours become one, one descriptor when only one is wanted, never beyond the request', async () => {
    const allocation = [
      { length: 4 * BLOCK, hole: false, zero: false },
      { length: 2 * BLOCK, hole: false, zero: false },
      { length: 2 * BLOCK, hole: true, zero: true },
      { length: 100 * BLOCK, hole: false, zero: false },
    ];
    const { client } = connected(true, { allocation });
    const status = async (flags: number): Promise<Uint8Array> => {
      client.request(NbdCommand.BlockStatus, 0, 10 * BLOCK, flags);
      await new Promise((resolve) => setImmediate(resolve));
      const reply = client.reply();
      assert.equal(reply.type, 5);
      return reply.data;
    };
    assert.deepEqual(
      await status(0),
      concat(u32(1), u32(6 * BLOCK), u32(0), u32(2 * BLOCK), u32(3), u32(2 * BLOCK), u32(0)),
    );
    assert.deepEqual(await status(NbdCommandFlag.ReqOne), concat(u32(1), u32(6 * BLOCK), u32(0)));
  });

  test('without knowledge everything is allocated; a failure is an error', async () => {
    const device = memory();
    let fails = false;
    const unknown = new Client(exportsOf({ name: 'x', device }));
    unknown.go('x', { allocation: true });
    unknown.request(NbdCommand.BlockStatus, 0, 4 * BLOCK);
    assert.deepEqual(unknown.reply().data, concat(u32(1), u32(4 * BLOCK), u32(0)));
    const allocation = async (): Promise<Extent[]> => {
      if (fails) throw new Error('the path is gone');
      return [];
    };
    const client = new Client(exportsOf({ name: 'x', device, allocation }));
    client.go('x', { allocation: true });
    for (fails of [false, true]) {
      client.request(NbdCommand.BlockStatus, 0, 4 * BLOCK);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(client.reply().error, fails ? NbdError.EIO : 0);
    }
  });

  test('requests beyond the bound make the session congested until some have been answered', () => {
    const { client, device } = connected(false);
    device.hold = true;
    for (let i = 0; i < MAX_REQUESTS; i++) client.request(NbdCommand.Flush, 0, 0);
    assert.ok(client.session.congested);
    device.release();
    client.collect();
    assert.ok(!client.session.congested);
  });

  test('without payload memory requests wait, and nothing is lost', () => {
    const { client, device } = connected(false, { poolBytes: 8192 });
    device.hold = true;
    const data = pattern(4096);
    for (let i = 0; i < 2; i++) client.request(NbdCommand.Write, i * 4096, 4096, 0, data);
    const reads = [2, 3, 4].map((i) => client.request(NbdCommand.Read, i * 4096, 4096));
    assert.ok(client.session.congested);
    assert.ok(client.starvedCount > 0);
    assert.equal(device.log.length, 2);
    // A write whose data has arrived gets memory beyond the limit: the bytes must go somewhere.
    client.request(NbdCommand.Write, 0, 4096, 0, data);
    assert.equal(device.log.length, 3);
    for (let turn = 0; turn < 4; turn++) {
      device.release();
      client.collect();
      client.session.retryStarved();
    }
    for (let i = 0; i < 3; i++) assert.equal(client.reply().error, 0);
    assert.deepEqual(
      reads.map(() => client.reply(4096).error),
      [0, 0, 0],
    );
    assert.equal(client.pool.loanedBytes, 0);
    assert.ok(!client.session.congested);
  });

  test('a connection that is lost gives everything back once its devices have finished', () => {
    const { client, device } = connected(false, { poolBytes: 8192 });
    device.hold = true;
    client.request(NbdCommand.Write, 0, 4096, 0, pattern(4096));
    client.request(NbdCommand.Read, 0, 4096);
    client.request(NbdCommand.Read, 4096, 4096); // waits for memory
    client.request(NbdCommand.Write, 0, 4096, 0, pattern(1000)); // only a part has arrived
    client.session.closed();
    assert.ok(client.session.finished);
    assert.ok(!client.isIdle);
    device.release();
    assert.ok(client.isIdle);
    assert.equal(client.pool.loanedBytes, 0);
    assert.equal(client.session.outstanding, 0);
  });

  test('DISC ends the session after what is under way was answered', () => {
    const { client, device } = connected(false);
    device.hold = true;
    client.request(NbdCommand.Write, 0, BLOCK, 0, pattern(BLOCK));
    client.request(NbdCommand.Disconnect, 0, 0);
    client.request(NbdCommand.Read, 0, BLOCK);
    assert.ok(!client.session.finished);
    device.release();
    assert.equal(client.reply().error, 0);
    assert.equal(client.pending, 0);
    assert.ok(client.session.finished);
    assert.equal(client.session.trouble, '');
  });

  test('garbage between requests ends the session', () => {
    const { client } = connected(true);
    client.send(new Uint8Array(28).fill(7));
    assert.match(client.session.trouble, /magic/);
    assert.ok(client.session.finished);
  });
});
