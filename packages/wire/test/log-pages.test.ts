import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError, Rng } from '@nvbraid/base';
import {
  AdminOpcode,
  type AnaGroup,
  AnaState,
  anaLog,
  anaLogSize,
  Ccrs,
  changedNamespaces,
  controllerList,
  crossControllerResetLog,
  type DiscoveryEntry,
  discoveryLog,
  effectsLog,
  Fid,
  featureEffects,
  IoCommandSetVector,
  IoOpcode,
  Lid,
  lbaFormatIndex,
  NO_ALTERNATE_CONTROLLER,
  namespaceDescriptors,
  namespaceList,
  parseAnaLog,
  parseChangedNamespaces,
  parseControllerList,
  parseCrossControllerResetLog,
  parseDiscoveryLog,
  parseEffectsLog,
  parseFeatureEffects,
  parseNamespaceDescriptors,
  parseNamespaceList,
  parseSupportedLogPages,
  supportedLogPages,
} from '@nvbraid/wire';
import { bytesAt, hex } from './vectors/hex.ts';

const SEED = Number(process.env.SEED ?? 20260404);
const group = (grpid: number, state: AnaGroup['state'], ...nsids: number[]): AnaGroup => ({
  grpid,
  chgcnt: grpid * 10,
  state,
  nsids,
});

function reasonOf(parsed: { ok: boolean; reason?: string }): string {
  assert.equal(parsed.ok, false);
  return parsed.reason!;
}

test('bytes of an ANA log', () => {
  const log = { chgcnt: 7, groups: [group(1, AnaState.Optimized, 1, 3), group(2, AnaState.Change)] };
  const bytes = hex(`07 00*7  02 00  00*6
    01 00 00 00  02 00 00 00  0a 00*7  01  00*15  01 00 00 00  03 00 00 00
    02 00 00 00  00 00 00 00  14 00*7  0f  00*15`);
  assert.deepEqual(anaLog(log), bytes);
  assert.equal(bytes.length, anaLogSize(2, 2));
  assert.deepEqual(parseAnaLog(bytes), { ok: true, value: log });
  assert.deepEqual(parseAnaLog(anaLog(log, true)), {
    ok: true,
    value: { chgcnt: 7, groups: [group(1, AnaState.Optimized), group(2, AnaState.Change)] },
  });
  // A host reads more than there is.
  const longer = new Uint8Array(4096);
  longer.set(bytes);
  assert.deepEqual(parseAnaLog(longer), { ok: true, value: log });
});

test('an ANA log that a peer made up is refused with a reason', () => {
  const good = anaLog({ chgcnt: 1, groups: [group(1, AnaState.Optimized, 1, 2), group(2, AnaState.NonOptimized, 5)] });
  const changed = (at: number, ...bytes: number[]): Uint8Array => {
    const copy = good.slice();
    copy.set(bytes, at);
    return copy;
  };
  assert.match(reasonOf(parseAnaLog(new Uint8Array(15))), /shorter than its header/);
  assert.match(reasonOf(parseAnaLog(changed(8, 3))), /group 2 of 3 lies outside/);
  assert.match(reasonOf(parseAnaLog(changed(8, 0xff, 0xff))), /group 2 of 65535 lies outside/);
  assert.match(reasonOf(parseAnaLog(changed(16, 0))), /group identifier 0/);
  assert.match(reasonOf(parseAnaLog(good, 1)), /group identifier 2 is not 1 to 1/);
  assert.match(reasonOf(parseAnaLog(changed(16, 2))), /group 2 appears twice/);
  assert.match(reasonOf(parseAnaLog(changed(32, 0))), /unknown state 0/);
  assert.match(reasonOf(parseAnaLog(changed(32, 5))), /unknown state 5/);
  assert.match(reasonOf(parseAnaLog(changed(20, 0xff, 0xff, 0xff, 0xff))), /namespaces of group 1 lie outside/);
  assert.match(reasonOf(parseAnaLog(good.subarray(0, good.length - 1))), /namespaces of group 2 lie outside/);
  assert.match(reasonOf(parseAnaLog(changed(48, 2))), /group 1 are not ascending/);
  assert.match(reasonOf(parseAnaLog(changed(52, 1))), /group 1 are not ascending/);
  assert.match(reasonOf(parseAnaLog(changed(48, 0))), /group 1 are not ascending/);
});

test('parsers of what a peer sends never throw', (t) => {
  t.diagnostic(`seed ${SEED}`);
  let understood = 0;
  for (let i = 0; i < 5000; i++) {
    const rng = new Rng(SEED + i);
    const page = anaLog({
      chgcnt: rng.u32(),
      groups: Array.from({ length: rng.below(4) }, (_, k) => group(k + 1, rng.pick([1, 2, 3, 4, 15]), 1, 2, 9)),
    });
    for (let n = rng.below(4); n > 0; n--) page[rng.below(page.length)] = rng.pick([0, 1, 2, 255, rng.below(256)]);
    const cut = rng.chance(0.5) ? page : page.subarray(0, rng.between(0, page.length));
    if (parseAnaLog(cut).ok) understood++;
    const random = new Uint8Array(rng.below(200));
    rng.fill(random);
    parseAnaLog(random);
    parseNamespaceDescriptors(random);
    parseNamespaceDescriptors(cut);
    parseNamespaceList(random);
    parseControllerList(random);
    parseChangedNamespaces(random);
    parseEffectsLog(random);
    parseDiscoveryLog(random);
    parseFeatureEffects(random);
    parseSupportedLogPages(random);
  }
  assert.ok(understood > 100);
});

test('namespace identification descriptors', () => {
  const nguid = hex('01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10');
  const ids = { eui64: hex('11*8'), nguid, uuid: '00112233-4455-6677-8899-aabbccddeeff', csi: 0 };
  const bytes = hex(`01 08 00 00  11*8  02 10 00 00 ${Buffer.from(nguid).toString('hex')}
    03 10 00 00  00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff  04 01 00 00  00  00*4039`);
  assert.deepEqual(namespaceDescriptors(ids), bytes);
  assert.deepEqual(parseNamespaceDescriptors(bytes), { ok: true, value: ids });
  assert.deepEqual(parseNamespaceDescriptors(namespaceDescriptors({})), { ok: true, value: {} });
  assert.throws(() => namespaceDescriptors({ eui64: new Uint8Array(7) }), AssertionError);
  // Types of the future are skipped.
  assert.deepEqual(parseNamespaceDescriptors(hex('09 03 00 00 aa*3  04 01 00 00 02')), { ok: true, value: { csi: 2 } });
  assert.match(reasonOf(parseNamespaceDescriptors(hex('03 11 00 00 00*17'))), /type 3 has 17 bytes/);
  assert.match(reasonOf(parseNamespaceDescriptors(hex('03 10 00 00 00*15'))), /at 0 lies outside/);
  assert.match(reasonOf(parseNamespaceDescriptors(hex('04 01 00 00 00 04 01 00 00 00'))), /two descriptors of type 4/);
});

test('namespace lists, whole and changed', () => {
  assert.deepEqual(namespaceList([1, 0x1000]), hex('01 00 00 00 00 10 00 00 00*4088'));
  assert.deepEqual(parseNamespaceList(namespaceList([1, 0x1000])), [1, 0x1000]);
  const full = Array.from({ length: 1024 }, (_, i) => i + 1);
  assert.deepEqual(parseNamespaceList(namespaceList(full)), full);
  assert.throws(() => namespaceList([...full, 1025]), AssertionError);
  assert.deepEqual(parseChangedNamespaces(changedNamespaces(full)), full);
  assert.deepEqual(changedNamespaces([...full, 1025]), hex('ff ff ff ff 00*4092'));
  assert.equal(parseChangedNamespaces(changedNamespaces([...full, 1025])), 'all');
});

test('controller lists', () => {
  assert.deepEqual(controllerList([1, 0x203]), hex('02 00 01 00 03 02 00*4090'));
  assert.deepEqual(parseControllerList(controllerList([1, 0x203])), [1, 0x203]);
  assert.deepEqual(parseControllerList(hex('ff ff 05 00')), [5], 'no more than there are');
  assert.deepEqual(parseControllerList(new Uint8Array(1)), []);
});

test('commands supported and effects', () => {
  const page = effectsLog({
    admin: new Map([[AdminOpcode.Identify, { csupp: 1 }]]),
    io: new Map([[IoOpcode.Write, { csupp: 1, lbcc: 1, cse: 1, csp: 0x801 }]]),
  });
  assert.equal(page.length, 4096);
  const view = new DataView(page.buffer);
  assert.equal(view.getUint32(4 * 0x06, true), 1);
  assert.equal(view.getUint32(1024 + 4 * 0x01, true), 0x80110003);
  const { admin, io } = parseEffectsLog(page);
  assert.deepEqual([...admin.keys(), ...io.keys()], [AdminOpcode.Identify, IoOpcode.Write]);
  assert.equal(io.get(IoOpcode.Write)!.csp, 0x801);
});

test('supported log pages, features and command sets', () => {
  const pages = supportedLogPages(new Map([[Lid.Ana, { lsupp: 1, ios: 1, lidsp: 0x102 }]]));
  assert.deepEqual(pages, bytesAt(1024, { 48: '03 00 02 01' }));
  assert.deepEqual(parseSupportedLogPages(pages), new Map([[12, { lsupp: 1, ios: 1, lidsp: 0x102 }]]));
  const features = featureEffects(new Map([[Fid.NumberOfQueues, { fsupp: 1, ccc: 1, fsp: 2 }]]));
  assert.deepEqual(features, bytesAt(1024, { 28: '11 00 20 00' }));
  assert.deepEqual([...parseFeatureEffects(features).keys()], [7]);
  assert.deepEqual(IoCommandSetVector.toBytes({ nvm: 1, zns: 1 }), hex('05 00*7'));
});

test('discovery log: what is there is read, however much of it was fetched', () => {
  const entries: Partial<DiscoveryEntry>[] = [
    { trtype: 3, subtype: 3, subnqn: 'nqn.a', traddr: '::1', trsvcid: '8009' },
    { trtype: 3, subtype: 2, subnqn: 'nqn.b', traddr: '::1', trsvcid: '4420' },
  ];
  const page = discoveryLog(9, entries);
  assert.equal(page.length, 3072);
  const whole = parseDiscoveryLog(page);
  assert.ok(whole.ok);
  assert.deepEqual([whole.value.genctr, whole.value.numrec], [9, 2]);
  assert.deepEqual(
    whole.value.entries.map((entry) => entry.subnqn),
    ['nqn.a', 'nqn.b'],
  );
  const part = parseDiscoveryLog(page.subarray(0, 3071));
  assert.ok(part.ok && part.value.numrec === 2 && part.value.entries.length === 1);
  const lie = page.slice();
  lie.fill(0xff, 8, 16);
  const parsed = parseDiscoveryLog(lie);
  assert.ok(parsed.ok && parsed.value.entries.length === 2 && parsed.value.numrec > 2 ** 53);
  lie[16] = 1;
  assert.match(reasonOf(parseDiscoveryLog(lie)), /record format 1/);
  assert.match(reasonOf(parseDiscoveryLog(page.subarray(0, 1023))), /shorter/);
});

test('the index of the LBA format has its high bits apart', () => {
  assert.equal(lbaFormatIndex(0x03), 3);
  assert.equal(lbaFormatIndex(0x13), 3, 'bit 4 is about metadata');
  assert.equal(lbaFormatIndex(0x6f), 63);
});

test('cross-controller resets: the page as it lies in memory, and what is no page', () => {
  const page = crossControllerResetLog([
    { icid: 0x1234, ciu: 0x56, acid: NO_ALTERNATE_CONTROLLER, ccrs: Ccrs.InProgress, validated: 1, initiated: 1 },
    { icid: 7, ciu: 1, acid: 9, ccrs: Ccrs.Failed, validated: 1 },
  ]);
  assert.deepEqual(page, hex('02 00 00*6 34 12 56 00 ff ff 00 03 07 00 01 00 09 00 02 01'));
  const read = parseCrossControllerResetLog(page);
  assert.ok(read.ok);
  assert.deepEqual(
    read.value.map(({ icid, ciu, ccrs }) => [icid, ciu, ccrs]),
    [
      [0x1234, 0x56, 0],
      [7, 1, 2],
    ],
  );
  assert.match(reasonOf(parseCrossControllerResetLog(page.subarray(0, 23))), /outside/);
  assert.match(reasonOf(parseCrossControllerResetLog(page.subarray(0, 7))), /shorter/);
  assert.match(reasonOf(parseCrossControllerResetLog(hex('00 02 00*4094'))), /512 entries/);
});
