import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { NBD_OPTION_MAGIC, NBD_REQUEST_MAGIC, NbdOptionRequest, NbdRequest } from '@nvbraid/wire';
import { MAX_OPTIONS, SESSION_SLAB_BYTES } from '../src/index.ts';
import { Client, concat, text, u16, u32 } from './support/client.ts';
import { exportsOf, ScriptedDevice } from './support/devices.ts';

const ROUNDS = 300;
const seed = Number(process.env.NVBRAID_SEED ?? (Math.random() * 2 ** 31) | 0);

function fuzzed(rng: Rng): Client {
  const exports = exportsOf({ name: 'x', aliases: ['y'], device: new ScriptedDevice() });
  return new Client(exports, { seed: rng.below(2 ** 31), poolBytes: 4 << 20 });
}

/** After whatever was sent: the connection goes, and nothing is left of it. */
function gone(client: Client, what: string): void {
  client.collect();
  client.session.closed();
  assert.equal(client.session.outstanding, 0, what);
  assert.equal(client.pool.loanedBytes, 0, what);
  assert.ok(client.isIdle, what);
}

/** A negotiation that is in order, in the pieces that a client sends. */
function negotiation(): Uint8Array[] {
  const option = (number: number, data: Uint8Array): Uint8Array =>
    concat(
      NbdOptionRequest.toBytes({
        magicHigh: NBD_OPTION_MAGIC[0],
        magicLow: NBD_OPTION_MAGIC[1],
        option: number,
        length: data.length,
      }),
      data,
    );
  const nothing = new Uint8Array(0);
  return [
    u32(3),
    option(8, nothing),
    option(3, nothing),
    option(9, concat(text('x'), u32(0))),
    option(10, concat(text('y'), u32(1), text('base:allocation'))),
    option(6, concat(text('x'), u16(2), u16(1), u16(2))),
    option(7, concat(text('x'), u16(1), u16(3))),
  ];
}

function request(rng: Rng): Uint8Array {
  const type = rng.below(9);
  const length = rng.chance(0.8) ? 512 * rng.below(16) : rng.below(2 ** 32);
  const header = NbdRequest.toBytes({
    magic: NBD_REQUEST_MAGIC,
    flags: rng.chance(0.8) ? 0 : rng.below(0x10000),
    type,
    cookieHigh: 0xabcd1234,
    cookieLow: rng.below(2 ** 32),
    offset: rng.chance(0.8) ? 512 * rng.below(2100) : rng.below(2 ** 32),
    length,
  });
  return type === 1 && length <= 8192 ? concat(header, new Uint8Array(length)) : header;
}

describe(`NBD sessions and hostile clients (NVBRAID_SEED=${seed})`, () => {
  test('random bytes end the connection, and throw nothing', () => {
    const rng = new Rng(seed);
    for (let round = 0; round < ROUNDS; round++) {
      const client = fuzzed(rng);
      const bytes = new Uint8Array(rng.between(1, 400));
      rng.fill(bytes);
      // Half of them get as far as options.
      if (rng.chance(0.5)) client.greet();
      client.send(bytes);
      gone(client, `round ${round}`);
    }
  });

  test('a negotiation that is cut or damaged anywhere leaves nothing behind', () => {
    const rng = new Rng(seed);
    for (let round = 0; round < ROUNDS; round++) {
      const client = fuzzed(rng);
      const stream = concat(...negotiation(), ...Array.from({ length: rng.below(8) }, () => request(rng)));
      const cut = stream.slice(0, rng.between(1, stream.length));
      for (let damage = rng.below(4); damage > 0; damage--) cut[rng.below(cut.length)] = rng.below(256);
      client.send(cut);
      gone(client, `round ${round}`);
    }
  });

  test('requests of any kind are answered once each, with bounded memory', () => {
    const rng = new Rng(seed);
    for (let round = 0; round < ROUNDS; round++) {
      const client = fuzzed(rng);
      client.send(...negotiation());
      for (let i = 0; i < 40; i++) {
        client.send(request(rng));
        assert.ok(client.pool.loanedBytes <= 2 * SESSION_SLAB_BYTES, `${client.pool.loanedBytes} bytes are held`);
        if (rng.chance(0.3)) {
          client.collect();
          client.session.retryStarved();
        }
      }
      gone(client, `round ${round}`);
    }
  });

  test('options without end end the connection', () => {
    const client = fuzzed(new Rng(seed));
    const [flags, structured] = negotiation();
    client.send(flags!);
    for (let i = 0; i <= MAX_OPTIONS; i++) client.send(structured!);
    client.collect();
    assert.ok(client.session.finished);
    assert.match(client.session.trouble, /gave up at option 8/);
  });
});
