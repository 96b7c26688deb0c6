import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { perform } from '../../src/config/edits.ts';
import { formatConfig, parseConfig } from '../../src/config/nvmetcli-json.ts';
import { emptyTree, findObject } from '../../src/config/tree.ts';
import { EMPTY, FOREIGN, OLD, RECENT } from './fixtures.ts';

for (const [what, text] of Object.entries({ RECENT, OLD, EMPTY, FOREIGN })) {
  test(`what nvmetcli wrote is written back byte for byte: ${what}`, () => {
    assert.equal(formatConfig(parseConfig(text).tree), text);
  });
}

test('what nobody here knows is kept with a warning each', () => {
  const { warnings } = parseConfig(FOREIGN);
  assert.deepEqual(
    warnings.filter((text) => text.includes('is not known here')),
    [
      '/: debug is not known here: it is kept, but changes nothing',
      '/subsystems/nqn.2026-01.de.example:plätte-🚀: attr_later_thing is not known here: it is kept, but changes nothing',
      '/subsystems/nqn.2026-01.de.example:plätte-🚀: extra is not known here: it is kept, but changes nothing',
    ],
  );
});

test('a value that has no effect here is kept with a warning', () => {
  const text = RECENT.replace(
    '"nsid": 10,',
    '"nsid": 10,\n          "nvbraid": {\n            "buffered_io": true\n          },',
  );
  const { tree, warnings } = parseConfig(text);
  assert.deepEqual(warnings, [
    '/subsystems/testnqn/namespaces/10: buffered_io=1 is kept, but changes nothing: files are always read and written through the page cache; Flush and FUA make data stable',
  ]);
  assert.equal(formatConfig(tree), text);
});

test('an attribute that is set in an old file is written where nvmetcli puts it', () => {
  const { tree } = parseConfig(OLD);
  const nqn = 'nqn.2014-08.org.nvmexpress:NVMf:uuid:23d9d3e0-a83e-45d7-a902-3e80679385f8';
  const path = `/subsystems/${nqn}/namespaces/1`;
  perform(tree, { op: 'set', path, attribute: 'ana_grpid', value: '7' });
  perform(tree, { op: 'set', path: `/subsystems/${nqn}`, attribute: 'attr_qid_max', value: '4' });
  perform(tree, { op: 'set', path, attribute: 'enable', value: '0' });
  perform(tree, { op: 'set', path, attribute: 'nvbraid_block_size', value: '512' });
  perform(tree, { op: 'set', path, attribute: 'nvbraid_read_only', value: 'yes' });
  const [subsystem] = JSON.parse(formatConfig(tree)).subsystems;
  assert.equal(subsystem.attr.qid_max, '4');
  assert.deepEqual(subsystem.namespaces[0], {
    ana_grpid: 7,
    device: {
      nguid: '00000000-0000-0000-0000-000000000000',
      path: '/dev/sdc',
      uuid: 'c2c140e4-aff2-4df4-8926-1686a485e99d',
    },
    enable: 0,
    nsid: 1,
    nvbraid: { block_size: 512, read_only: true },
  });
  perform(tree, { op: 'set', path, attribute: 'nvbraid_read_only', value: '0' });
  perform(tree, { op: 'set', path, attribute: 'nvbraid_block_size', value: '' });
  assert.equal(JSON.parse(formatConfig(tree)).subsystems[0].namespaces[0].nvbraid, undefined);
});

test('what is made here is written as nvmetcli writes it, all attributes and all sections', () => {
  const tree = emptyTree();
  perform(tree, { op: 'create', path: '/hosts/h' });
  perform(tree, { op: 'create', path: '/subsystems/s' });
  perform(tree, { op: 'create', path: '/subsystems/s/namespaces/3' });
  perform(tree, { op: 'create', path: '/subsystems/s/allowed_hosts/h' });
  perform(tree, { op: 'create', path: '/ports/9' });
  const saved = JSON.parse(formatConfig(tree));
  assert.deepEqual(Object.keys(saved), ['discovery', 'hosts', 'ports', 'subsystems']);
  assert.deepEqual(Object.keys(saved.subsystems[0]), ['allowed_hosts', 'attr', 'namespaces', 'nqn']);
  assert.deepEqual(saved.subsystems[0].namespaces[0], {
    ana: { grpid: '1' },
    ana_grpid: 1,
    device: {
      nguid: '00000000-0000-0000-0000-000000000000',
      path: '',
      uuid: findObject(tree, '/subsystems/s/namespaces/3').get('device_uuid'),
    },
    enable: 0,
    nsid: 3,
    resv: { enable: '0' },
  });
  assert.deepEqual(saved.ports[0].ana_groups, [{ ana: { state: 'optimized' }, grpid: 1 }]);
  assert.deepEqual(saved.ports[0].param, { inline_data_size: '-1', max_queue_size: '-1', mdts: '-1', pi_enable: '0' });
  assert.equal(formatConfig(parseConfig(formatConfig(tree)).tree), formatConfig(tree));
});

const bad: [string, unknown, RegExp][] = [
  ['a list', [], /^\/: an object is expected in the configuration, not \[\]/],
  ['null', null, /an object is expected/],
  ['hosts that are no list', { hosts: {} }, /^\/ hosts: a list is expected/],
  ['a host without name', { hosts: [{}] }, /^\/ hosts\[0\]: 'nqn' is not defined/],
  ['a host twice', { hosts: [{ nqn: 'h' }, { nqn: 'h' }] }, /hosts\[1\]: nqn h is there twice/],
  [
    'a port number out of range',
    { ports: [{ portid: 65536 }] },
    /portid '65536' is not a whole number from 0 to 65535/,
  ],
  ['a namespace 0', { subsystems: [{ nqn: 's', namespaces: [{ nsid: 0 }] }] }, /nsid '0' is not a whole number/],
  ['a name with a slash', { hosts: [{ nqn: 'a/b' }] }, /nqn 'a\/b' contains a slash/],
  [
    'a wrong value',
    { subsystems: [{ nqn: 's', attr: { qid_max: '0' } }] },
    /^\/subsystems\/s: attr_qid_max is a whole number from 1 to 128, not "0"/,
  ],
  [
    'a value that is a list',
    { subsystems: [{ nqn: 's', attr: { model: [] } }] },
    /attr_model is 1 to 40 printable ASCII characters, not \[\]/,
  ],
  [
    'a link to nowhere',
    { subsystems: [{ nqn: 's', allowed_hosts: ['h'] }] },
    /^\/subsystems\/s\/allowed_hosts\/h: there is no \/hosts\/h/,
  ],
  ['a port that leads to nowhere', { ports: [{ portid: 1, subsystems: ['s'] }] }, /there is no \/subsystems\/s/],
  [
    'protection information',
    { subsystems: [{ nqn: 's', attr: { pi_enable: '1' } }] },
    /attr_pi_enable=1 cannot be had: protection information is not built/,
  ],
  ['TLS', { ports: [{ portid: 1, addr: { tsas: 'tls1.3' } }] }, /addr_tsas=tls1.3 cannot be had: TLS is not built/],
  ['a section that is no object', { ports: [{ portid: 1, addr: 'x' }] }, /^\/ports\/1 addr: an object is expected/],
];
for (const [what, value, message] of bad) {
  test(`a file with ${what} is refused with its place`, () => {
    assert.throws(
      () => parseConfig(JSON.stringify(value)),
      (error) => error instanceof NvbraidError && message.test(error.message),
    );
  });
}

test('text that is not JSON is refused with a sentence', () => {
  assert.throws(() => parseConfig('{"hosts": ['), /the configuration is not JSON/);
});

test('files that people write may have numbers and words where nvmetcli has texts', () => {
  const { tree } = parseConfig('{"subsystems":[{"nqn":"s","attr":{"allow_any_host":true,"qid_max":8,"serial":123}}]}');
  const node = findObject(tree, '/subsystems/s');
  assert.deepEqual(
    [node.get('attr_allow_any_host'), node.get('attr_qid_max'), node.get('attr_serial')],
    ['1', '8', '123'],
  );
});

test('a key called __proto__ is an unknown key like any other', () => {
  const text = '{\n  "__proto__": {\n    "x": "1"\n  },\n  "hosts": []\n}\n';
  assert.equal(formatConfig(parseConfig(text).tree), text);
});
