import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NbdExportFlag, NbdInfo, NbdInfoBlockSize, NbdInfoExport, NbdOption, NbdReply } from '@nvbraid/wire';
import { MAX_OPTION_BYTES, MAX_OPTIONS, MAX_PAYLOAD_BYTES } from '../src/index.ts';
import { Client, concat, text, u16, u32 } from './support/client.ts';
import { DEVICE_BYTES, exportsOf, memory, ScriptedDevice } from './support/devices.ts';

const two = () =>
  exportsOf({ name: 'one', description: 'the first', device: memory() }, { name: 'two', device: new ScriptedDevice() });
const types = (replies: readonly { type: number }[]) => replies.map(({ type }) => type);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe('NBD negotiation', () => {
  test('LIST tells the exports with what is known of them', () => {
    const client = new Client(two());
    client.greet();
    const replies = client.option(NbdOption.List);
    assert.deepEqual(types(replies), [NbdReply.Server, NbdReply.Server, NbdReply.Ack]);
    assert.equal(decode(replies[0]!.data.slice(4)), 'onethe first');
    assert.equal(decode(replies[1]!.data.slice(4)), 'two');
    assert.deepEqual(types(client.option(NbdOption.List, u32(0))), [NbdReply.ErrInvalid]);
  });

  test('INFO answers and stays in the negotiation, GO ends it', () => {
    const client = new Client(two());
    client.greet();
    const asked = concat(text('one'), u16(3), u16(NbdInfo.Name), u16(NbdInfo.Description), u16(NbdInfo.BlockSize));
    for (const option of [NbdOption.Info, NbdOption.Go]) {
      const replies = client.option(option, asked);
      assert.deepEqual(types(replies), [...Array(4).fill(NbdReply.Info), NbdReply.Ack]);
      const [first, name, description, size] = replies.map(({ data }) => data);
      const told = NbdInfoExport.parse(new DataView(first!.buffer));
      assert.deepEqual([told.type, told.exportSize], [NbdInfo.Export, DEVICE_BYTES]);
      assert.equal(decode(name!.slice(2)), 'one');
      assert.equal(decode(description!.slice(2)), 'the first');
      assert.deepEqual(NbdInfoBlockSize.parse(new DataView(size!.buffer)), {
        type: NbdInfo.BlockSize,
        minimum: 512,
        preferred: 4096,
        maximum: MAX_PAYLOAD_BYTES,
      });
      assert.equal(client.session.exportName, option === NbdOption.Go ? 'one' : null);
    }
  });

  test('the flags follow what the device can do', () => {
    const flagsOf = (change: (device: ScriptedDevice) => void): number => {
      const device = new ScriptedDevice();
      change(device);
      const client = new Client(exportsOf({ name: 'x', device }));
      const replies = client.go('x');
      return NbdInfoExport.parse(new DataView(replies[0]!.data.buffer)).flags;
    };
    const always =
      NbdExportFlag.HasFlags |
      NbdExportFlag.SendFlush |
      NbdExportFlag.SendFua |
      NbdExportFlag.CanMultiConn |
      NbdExportFlag.SendDf;
    assert.equal(
      flagsOf(() => {}),
      always | NbdExportFlag.SendTrim | NbdExportFlag.SendWriteZeroes,
    );
    assert.equal(
      flagsOf((device) => {
        device.thin = false;
      }),
      always | NbdExportFlag.SendWriteZeroes,
    );
    assert.equal(
      flagsOf((device) => {
        device.readOnly = true;
      }),
      always | NbdExportFlag.ReadOnly,
    );
  });

  test('an unknown name is refused by GO and closes after EXPORT_NAME', () => {
    const client = new Client(two());
    client.greet();
    assert.deepEqual(types(client.option(NbdOption.Go, concat(text('three'), u16(0)))), [NbdReply.ErrUnknown]);
    client.sendOption(NbdOption.ExportName, new TextEncoder().encode('three'));
    assert.ok(client.session.finished);
    assert.equal(client.pending, 0);
  });

  for (const flags of [1, 3]) {
    test(`EXPORT_NAME ${flags === 3 ? 'without' : 'with'} its zeroes leads to transmission`, () => {
      const client = new Client(two());
      client.greet(flags);
      client.sendOption(NbdOption.ExportName, new TextEncoder().encode('two'));
      const answer = client.take(flags === 3 ? 10 : 134);
      assert.equal(Number(new DataView(answer.buffer).getBigUint64(0)), DEVICE_BYTES);
      client.request(3, 0, 0);
      assert.equal(client.reply().error, 0);
    });
  }

  test('the empty name is the first export', () => {
    const client = new Client(two());
    client.go('');
    assert.equal(client.session.exportName, 'one');
  });

  test('metadata contexts: listed, chosen, forgotten with another choice', () => {
    const client = new Client(two());
    client.greet();
    const ask = (name: string, ...queries: string[]): Uint8Array =>
      concat(text(name), u32(queries.length), ...queries.map(text));
    const set = (...queries: string[]) => types(client.option(NbdOption.SetMetaContext, ask('one', ...queries)));
    const list = (...queries: string[]) => types(client.option(NbdOption.ListMetaContext, ask('one', ...queries)));
    assert.deepEqual(set('base:allocation'), [NbdReply.ErrInvalid], 'needs structured replies');
    client.option(NbdOption.StructuredReply);
    assert.deepEqual(list(), [NbdReply.MetaContext, NbdReply.Ack]);
    assert.deepEqual(list('base:'), [NbdReply.MetaContext, NbdReply.Ack]);
    assert.deepEqual(list('qemu:'), [NbdReply.Ack]);
    assert.deepEqual(set('qemu:dirty-bitmap:x', 'base:allocation'), [NbdReply.MetaContext, NbdReply.Ack]);
    assert.deepEqual(set('base:'), [NbdReply.Ack], 'a namespace alone chooses nothing');
    client.structured = true;
    client.option(NbdOption.Go, concat(text('one'), u16(0)));
    client.request(7, 0, 512);
    assert.equal(client.reply().error, 22, 'the last choice counts');
  });

  test('a context chosen for one export does not hold for another', () => {
    const client = new Client(two());
    client.greet();
    client.option(NbdOption.StructuredReply);
    client.option(NbdOption.SetMetaContext, concat(text('one'), u32(1), text('base:allocation')));
    client.structured = true;
    client.option(NbdOption.Go, concat(text('two'), u16(0)));
    client.request(7, 0, 512);
    assert.equal(client.reply().error, 22);
  });

  test('what is not known is refused and the negotiation goes on', () => {
    const client = new Client(two());
    client.greet();
    assert.deepEqual(types(client.option(NbdOption.StartTls)), [NbdReply.ErrPolicy]);
    assert.deepEqual(types(client.option(NbdOption.ExtendedHeaders)), [NbdReply.ErrUnsup]);
    assert.deepEqual(types(client.option(4242, u32(1))), [NbdReply.ErrUnsup]);
    assert.deepEqual(types(client.option(NbdOption.StructuredReply, u32(0))), [NbdReply.ErrInvalid]);
    client.sendOption(NbdOption.Info, new Uint8Array(MAX_OPTION_BYTES + 1));
    assert.equal(client.optionReply(NbdOption.Info).type, NbdReply.ErrTooBig);
    client.option(NbdOption.Go, concat(text('one'), u16(0)));
    assert.equal(client.session.exportName, 'one');
  });

  test('malformed data of options is refused at every length', () => {
    const whole = concat(text('one'), u16(2), u16(1), u16(3));
    for (let length = 0; length <= whole.length + 1; length++) {
      const client = new Client(two());
      client.greet();
      const data = concat(whole, Uint8Array.of(0)).slice(0, length);
      const last = types(client.option(NbdOption.Info, data)).at(-1);
      assert.equal(last, length === whole.length ? NbdReply.Ack : NbdReply.ErrInvalid, `${length} bytes`);
    }
    const client = new Client(two());
    client.greet();
    client.option(NbdOption.StructuredReply);
    const lying = concat(text('one'), u32(0xffffffff), text('base:allocation'));
    assert.deepEqual(types(client.option(NbdOption.SetMetaContext, lying)), [NbdReply.ErrInvalid]);
  });

  test('ABORT is acknowledged and ends the connection; wrong magic and unknown flags just end it', () => {
    const polite = new Client(two());
    polite.greet();
    assert.deepEqual(types(polite.option(NbdOption.Abort)), [NbdReply.Ack]);
    assert.ok(polite.session.finished);

    const flags = new Client(two());
    flags.greet(0x80);
    assert.match(flags.session.trouble, /flags/);
    assert.ok(flags.session.finished);

    const magic = new Client(two());
    magic.greet();
    magic.send(new Uint8Array(16));
    assert.match(magic.session.trouble, /magic/);
    assert.ok(magic.session.finished);
  });

  test('nobody haggles for ever', () => {
    const client = new Client(two());
    client.greet();
    let count = 0;
    for (; count < 2 * MAX_OPTIONS && !client.session.finished; count++) {
      client.sendOption(NbdOption.List);
      client.collect();
    }
    assert.equal(count, MAX_OPTIONS + 1);
  });
});

test('an alias leads to the same export, and is not listed', () => {
  const exports = exportsOf(
    { name: 'nvme0n1', aliases: ['nqn.x:y/1'], device: memory() },
    { name: 'b', device: memory() },
  );
  const client = new Client(exports);
  client.greet();
  assert.deepEqual(
    client.option(3).map(({ type }) => type),
    [NbdReply.Server, NbdReply.Server, NbdReply.Ack],
  );
  client.option(8);
  client.option(10, concat(text('nvme0n1'), u32(1), text('base:allocation')));
  assert.equal(client.option(7, concat(text('nqn.x:y/1'), u16(0))).at(-1)!.type, NbdReply.Ack);
  assert.equal(client.session.exportName, 'nvme0n1');
  assert.throws(
    () => exports.add({ name: 'c', aliases: ['b'], device: memory() }),
    /there is an NBD export 'b' already/,
  );
  assert.equal(exports.find('c'), undefined, 'refused as a whole');
  exports.remove('nvme0n1');
  assert.equal(exports.find('nqn.x:y/1'), undefined);
});
