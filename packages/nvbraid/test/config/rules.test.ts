import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, NvbraidError } from '@nvbraid/base';
import { deleteAll, type Edit, NO_FACTS, perform } from '../../src/config/edits.ts';
import { KINDS } from '../../src/config/kinds.ts';
import { formatConfig } from '../../src/config/nvmetcli-json.ts';
import { type ConfigNode, emptyTree, find, findObject, nodePath, nodesOf, pathPieces } from '../../src/config/tree.ts';

const NS = '/subsystems/s/namespaces/1';

function edit(line: string): Edit {
  const match = /^(create|delete|set) (\S+)(?: (\w+)=(.*))?$/s.exec(line)!;
  const [, op, path, attribute, value] = match;
  return op === 'set' ? { op, path: path!, attribute: attribute!, value: value! } : { op: op as 'create', path: path! };
}

function tree(lines: readonly string[]): ConfigNode {
  const root = emptyTree();
  for (const line of lines) perform(root, edit(line));
  return root;
}

const SUBSYSTEM = ['create /subsystems/s', `create ${NS}`];
const HOST = ['create /hosts/h', 'create /subsystems/s/allowed_hosts/h'];
const ENABLED = [...SUBSYSTEM, `set ${NS} device_path=/d`, `set ${NS} enable=1`];
const PORT = [
  ...['create /ports/1', 'set /ports/1 addr_trtype=tcp', 'set /ports/1 addr_adrfam=ipv4'],
  ...['set /ports/1 addr_traddr=127.0.0.1', 'set /ports/1 addr_trsvcid=4420'],
];
const LINKED = [...SUBSYSTEM, ...PORT, 'create /ports/1/subsystems/s'];
const REFERRAL = [
  ...['create /ports/1', 'create /ports/1/referrals/r', 'set /ports/1/referrals/r addr_trtype=tcp'],
  ...['set /ports/1/referrals/r addr_traddr=10.0.0.1', 'set /ports/1/referrals/r enable=1'],
];

/** What is there, what is tried, how it is refused. */
const refused: readonly [readonly string[], string, ErrorCode, RegExp][] = [
  // Objects.
  [[], 'create /nothing/x', 'ENOENT', /there is no \/nothing/],
  [[], 'create /subsystems/s/namespaces/1', 'ENOENT', /there is no \/subsystems\/s$/],
  [[], 'create /hosts', 'EEXIST', /is a directory that is always there/],
  [[], 'create /', 'EEXIST', /exists already/],
  [SUBSYSTEM, 'create /subsystems/s', 'EEXIST', /exists already/],
  [SUBSYSTEM, `create ${NS}`, 'EEXIST', /exists already/],
  [SUBSYSTEM, 'create /subsystems/s/namespaces/0', 'EINVAL', /'0' is not a whole number from 1 to 4294967294/],
  [SUBSYSTEM, 'create /subsystems/s/namespaces/01', 'EINVAL', /'01' is not a whole number/],
  [SUBSYSTEM, 'create /subsystems/s/namespaces/4294967295', 'EINVAL', /is not a whole number/],
  [[], 'create /ports/65536', 'EINVAL', /'65536' is not a whole number from 0 to 65535/],
  [[], `create /hosts/${'x'.repeat(224)}`, 'EINVAL', /is longer than 223 bytes/],
  [[], 'create /subsystems/nqn.2014-08.org.nvmexpress.discovery', 'EINVAL', /is the discovery subsystem/],
  [['set / discovery_nqn=d'], 'create /subsystems/d', 'EINVAL', /is the discovery subsystem/],
  [PORT, 'create /ports/1/ana_groups/1', 'EEXIST', /exists already/],
  [PORT, 'create /ports/1/ana_groups/129', 'EINVAL', /is not a whole number from 1 to 128/],
  [PORT, 'delete /ports/1/ana_groups/1', 'EACCES', /is the default group of its port/],
  [PORT, 'delete /ports/1/ana_groups', 'EACCES', /is always there/],
  [[], 'delete /', 'EACCES', /is always there/],
  [[], 'delete /ports/1', 'ENOENT', /there is no \/ports\/1/],
  [LINKED, 'delete /subsystems/s', 'EBUSY', /is linked by \/ports\/1\/subsystems\/s/],
  [[...SUBSYSTEM, ...HOST], 'delete /hosts/h', 'EBUSY', /is linked by \/subsystems\/s\/allowed_hosts\/h/],
  [SUBSYSTEM, 'delete /subsystems/s', 'ENOTEMPTY', /delete namespaces\/1 first/],
  [LINKED, 'delete /ports/1', 'ENOTEMPTY', /delete subsystems\/s first/],
  [REFERRAL, 'delete /ports/1', 'ENOTEMPTY', /delete referrals\/r first/],
  // Links.
  [SUBSYSTEM, 'create /subsystems/s/allowed_hosts/h', 'ENOENT', /there is no \/hosts\/h/],
  [[...SUBSYSTEM, ...HOST], 'create /subsystems/s/allowed_hosts/h', 'EEXIST', /exists already/],
  [
    [...SUBSYSTEM, 'create /hosts/h', 'set /subsystems/s attr_allow_any_host=1'],
    'create /subsystems/s/allowed_hosts/h',
    'EINVAL',
    /hosts cannot be listed while allow_any_host is set/,
  ],
  [PORT, 'create /ports/1/subsystems/s', 'ENOENT', /there is no \/subsystems\/s/],
  [LINKED, 'create /ports/1/subsystems/s', 'EEXIST', /exists already/],
  [[...SUBSYSTEM, 'create /ports/1'], 'create /ports/1/subsystems/s', 'EINVAL', /set addr_trtype before/],
  [
    [...SUBSYSTEM, 'create /ports/1', 'set /ports/1 addr_trtype=fc'],
    'create /ports/1/subsystems/s',
    'ENOTSUP',
    /transport type 2 \(fc\) not supported: not built$/,
  ],
  [
    [...SUBSYSTEM, 'create /ports/1', 'set /ports/1 addr_trtype=rdma'],
    'create /ports/1/subsystems/s',
    'ENOTSUP',
    /transport type 1 \(rdma\) not supported/,
  ],
  [
    [...SUBSYSTEM, 'create /ports/1', 'set /ports/1 addr_trtype=tcp'],
    'create /ports/1/subsystems/s',
    'EINVAL',
    /set addr_adrfam to ipv4 or ipv6/,
  ],
  [
    [...SUBSYSTEM, ...PORT, 'set /ports/1 addr_adrfam=ipv6'],
    'create /ports/1/subsystems/s',
    'EINVAL',
    /'127.0.0.1' is no ipv6 address/,
  ],
  [
    [...SUBSYSTEM, ...PORT, 'set /ports/1 addr_traddr=::1'],
    'create /ports/1/subsystems/s',
    'EINVAL',
    /'::1' is no ipv4 address/,
  ],
  [
    [...SUBSYSTEM, ...PORT, 'set /ports/1 addr_trsvcid='],
    'create /ports/1/subsystems/s',
    'EINVAL',
    /is no port number/,
  ],
  // Attributes: their values.
  [[], 'set / nothing=1', 'ENOENT', /there is no attribute nothing; there are discovery_nqn/],
  [[], 'set /hosts nothing=1', 'EINVAL', /is a directory: it has no attributes/],
  [SUBSYSTEM, 'set /subsystems/s attr_allow_any_host=2', 'EINVAL', /is 0 or 1, not "2"/],
  [SUBSYSTEM, 'set /subsystems/s attr_version=1', 'EINVAL', /is a version from 1.2.1 to 2.1/],
  [SUBSYSTEM, 'set /subsystems/s attr_serial=', 'EINVAL', /1 to 20 printable/],
  [SUBSYSTEM, `set /subsystems/s attr_serial=${'x'.repeat(21)}`, 'EINVAL', /1 to 20 printable/],
  [SUBSYSTEM, 'set /subsystems/s attr_model=ä', 'EINVAL', /1 to 40 printable/],
  [SUBSYSTEM, `set /subsystems/s attr_firmware=${'x'.repeat(9)}`, 'EINVAL', /1 to 8 printable/],
  [SUBSYSTEM, 'set /subsystems/s attr_ieee_oui=0x1000000', 'EINVAL', /from 0 to 0xffffff/],
  [SUBSYSTEM, 'set /subsystems/s attr_cntlid_min=0', 'EINVAL', /from 1 to 65519/],
  [SUBSYSTEM, 'set /subsystems/s attr_qid_max=129', 'EINVAL', /from 1 to 128/],
  [SUBSYSTEM, 'set /subsystems/s attr_qid_max=0', 'EINVAL', /from 1 to 128/],
  [SUBSYSTEM, 'set /subsystems/s attr_pi_enable=1', 'ENOTSUP', /protection information is not built/],
  [
    [...SUBSYSTEM, 'set /subsystems/s attr_cntlid_max=9'],
    'set /subsystems/s attr_cntlid_min=10',
    'EINVAL',
    /is greater than attr_cntlid_max 9/,
  ],
  [
    [...SUBSYSTEM, 'set /subsystems/s attr_cntlid_min=9'],
    'set /subsystems/s attr_cntlid_max=8',
    'EINVAL',
    /is less than attr_cntlid_min 9/,
  ],
  [[...SUBSYSTEM, ...HOST], 'set /subsystems/s attr_allow_any_host=1', 'EINVAL', /while hosts are listed/],
  [SUBSYSTEM, 'set / discovery_nqn=s', 'EINVAL', /a subsystem is called s already/],
  [['create /hosts/h'], 'set /hosts/h dhchap_key=DHHC-1:00:x:', 'ENOTSUP', /in-band authentication is not built/],
  [SUBSYSTEM, `set ${NS} device_uuid=x`, 'EINVAL', /is a UUID/],
  [SUBSYSTEM, `set ${NS} device_nguid=00`, 'EINVAL', /16 bytes in hexadecimal/],
  [SUBSYSTEM, `set ${NS} ana_grpid=129`, 'EINVAL', /from 1 to 128/],
  [SUBSYSTEM, `set ${NS} p2pmem=1`, 'EINVAL', /one of 0/],
  [SUBSYSTEM, `set ${NS} nvbraid_memory=many`, 'EINVAL', /a number of bytes such as/],
  [PORT, 'set /ports/1 addr_trtype=infiniband', 'EINVAL', /one of .*mptcp/],
  [PORT, 'set /ports/1 addr_tsas=tls1.3', 'ENOTSUP', /TLS is not built/],
  [PORT, 'set /ports/1 addr_treq=required', 'ENOTSUP', /TLS is not built/],
  [PORT, 'set /ports/1/ana_groups/1 ana_state=fine', 'EINVAL', /one of optimized/],
  // Attributes: when they may change.
  [ENABLED, `set ${NS} device_path=/e`, 'EBUSY', /cannot change while the namespace is enabled; disable it first/],
  [ENABLED, `set ${NS} device_uuid=43c4260a-826b-475d-9b42-883b4258f53f`, 'EBUSY', /while the namespace is enabled/],
  [ENABLED, `set ${NS} device_nguid=43c4260a-826b-475d-9b42-883b4258f53f`, 'EBUSY', /while the namespace is enabled/],
  [ENABLED, `set ${NS} buffered_io=1`, 'EINVAL', /while the namespace is enabled/],
  [ENABLED, `set ${NS} nvbraid_block_size=512`, 'EBUSY', /while the namespace is enabled/],
  [SUBSYSTEM, `set ${NS} revalidate_size=1`, 'EINVAL', /works while the namespace is enabled only/],
  [ENABLED, `set ${NS} revalidate_size=0`, 'EINVAL', /is 1, not "0"/],
  [SUBSYSTEM, `set ${NS} enable=1`, 'EINVAL', /set device_path before/],
  [
    [...SUBSYSTEM, `set ${NS} device_path=/d`, `set ${NS} nvbraid_memory=1MiB`],
    `set ${NS} enable=1`,
    'EINVAL',
    /exclude each other/,
  ],
  [
    [...SUBSYSTEM, `set ${NS} device_path=/d`, `set ${NS} nvbraid_create=1`],
    `set ${NS} enable=1`,
    'EINVAL',
    /nvbraid_create needs nvbraid_size/,
  ],
  [
    [...SUBSYSTEM, `set ${NS} device_path=/d`, `set ${NS} nvbraid_block_size=1000`],
    `set ${NS} enable=1`,
    'EINVAL',
    /power of two/,
  ],
  [
    [...SUBSYSTEM, 'create /subsystems/s/namespaces/1025', 'set /subsystems/s/namespaces/1025 device_path=/d'],
    'set /subsystems/s/namespaces/1025 enable=1',
    'EINVAL',
    /nsid is 1 to 1024 here/,
  ],
  [
    [
      ...[...ENABLED, 'create /subsystems/s/namespaces/2', 'set /subsystems/s/namespaces/2 device_path=/e'],
      `set /subsystems/s/namespaces/2 device_uuid=${findObject(tree(SUBSYSTEM), NS).get('device_uuid')}`,
    ],
    'set /subsystems/s/namespaces/2 enable=1',
    'EINVAL',
    /namespace 1 has device_uuid .* already/,
  ],
  ...[
    'trtype=tcp2',
    'trtype=rdma',
    'adrfam=ipv6',
    'traddr=127.0.0.2',
    'trsvcid=4421',
    'treq=not required',
    'tsas=',
  ].map((text): [string[], string, ErrorCode, RegExp] =>
    text === 'trtype=tcp2'
      ? [LINKED, `set /ports/1 addr_${text}`, 'EINVAL', /one of/]
      : [LINKED, `set /ports/1 addr_${text}`, 'EACCES', /cannot change while the port is enabled; remove the links/],
  ),
  ...['inline_data_size=4096', 'max_queue_size=64', 'mdts=5'].map((text): [string[], string, ErrorCode, RegExp] => [
    LINKED,
    `set /ports/1 param_${text}`,
    'EACCES',
    /while the port is enabled/,
  ]),
  [LINKED, 'set /ports/1 nvbraid_transport=net', 'EACCES', /while the port is enabled/],
  [REFERRAL, 'set /ports/1/referrals/r addr_traddr=10.0.0.2', 'EACCES', /while the referral is enabled/],
  [
    ['create /ports/1', 'create /ports/1/referrals/r'],
    'set /ports/1/referrals/r enable=1',
    'EINVAL',
    /set addr_trtype and addr_traddr/,
  ],
];

for (const [before, line, code, message] of refused) {
  test(`refused: ${line.length > 90 ? `${line.slice(0, 90)}…` : line} (${code} ${message.source})`, () => {
    const root = tree(before);
    const text = formatConfig(root);
    assert.throws(
      () => perform(root, edit(line)),
      (error) => {
        assert.ok(error instanceof NvbraidError, String(error));
        assert.match(error.message, message);
        assert.equal(error.code, code);
        return true;
      },
    );
    assert.equal(formatConfig(root), text, 'nothing has changed');
  });
}

test('what hosts have seen of a subsystem cannot change any more; writing the same is nothing', () => {
  const root = tree([...SUBSYSTEM, 'set /subsystems/s attr_serial=A']);
  const seen = { ...NO_FACTS, discovered: (nqn: string) => nqn === 's' };
  for (const text of ['attr_serial=B', 'attr_model=x', 'attr_firmware=x', 'attr_version=1.4', 'attr_ieee_oui=1']) {
    assert.throws(() => perform(root, edit(`set /subsystems/s ${text}`), seen), {
      code: 'EINVAL',
      message: /hosts have seen it/,
    });
    perform(root.clone(), edit(`set /subsystems/s ${text}`), NO_FACTS);
  }
  perform(root, edit('set /subsystems/s attr_serial=A'), seen);
});

const accepted: readonly [readonly string[], string, string][] = [
  [SUBSYSTEM, 'set /subsystems/s attr_allow_any_host=yes', '1'],
  [SUBSYSTEM, 'set /subsystems/s attr_allow_any_host=Off\n', '0'],
  [SUBSYSTEM, 'set /subsystems/s attr_qid_max=0x10', '16'],
  [SUBSYSTEM, 'set /subsystems/s attr_ieee_oui=7', '0x000007'],
  [SUBSYSTEM, 'set /subsystems/s attr_vendor_id=6900', '0x1af4'],
  [SUBSYSTEM, 'set /subsystems/s attr_version=1.4.0', '1.4'],
  [SUBSYSTEM, 'set /subsystems/s attr_version=1.2.1', '1.2.1'],
  [SUBSYSTEM, `set ${NS} device_uuid=43C4260A-826B-475D-9B42-883B4258F53F`, '43c4260a-826b-475d-9b42-883b4258f53f'],
  [SUBSYSTEM, `set ${NS} device_nguid=EF90689c6c46d44c89c14067801309a8`, 'ef90689c-6c46-d44c-89c1-4067801309a8'],
  [SUBSYSTEM, `set ${NS} nvbraid_memory=1GiB`, '1073741824'],
  [SUBSYSTEM, `set ${NS} nvbraid_memory=4k`, '4096'],
  [ENABLED, `set ${NS} ana_grpid=2`, '2'],
  [LINKED, 'set /ports/1/ana_groups/1 ana_state=inaccessible', 'inaccessible'],
  [PORT, 'set /ports/1 addr_trtype=mptcp', 'mptcp'],
  [LINKED, 'set /ports/1 addr_trtype=tcp', 'tcp'],
  [PORT, 'set /ports/1 nvbraid_listen=1', '1'],
];
for (const [before, line, value] of accepted) {
  test(`accepted: ${line.trim()}, shown as ${value}`, () => {
    const root = tree(before);
    const change = edit(line);
    assert.ok(change.op === 'set');
    perform(root, change);
    assert.equal(findObject(root, change.path).get(change.attribute), value);
  });
}

test('a port is enabled by its first link and disabled when the last is gone', () => {
  const root = tree([...LINKED, 'create /subsystems/t', 'create /ports/1/subsystems/t']);
  const port = findObject(root, '/ports/1');
  perform(root, edit('delete /ports/1/subsystems/s'));
  assert.ok(port.enabled);
  perform(root, edit('delete /ports/1/subsystems/t'));
  assert.ok(!port.enabled);
  perform(root, edit('set /ports/1 addr_trsvcid=4421'));
});

test('a group that is made on a port begins inaccessible, as in Linux', () => {
  const root = tree([...PORT, 'create /ports/1/ana_groups/2']);
  assert.equal(findObject(root, '/ports/1/ana_groups/2').get('ana_state'), 'inaccessible');
  assert.equal(findObject(root, '/ports/1/ana_groups/1').get('ana_state'), 'optimized');
});

test('an object can be deleted with all that is in it', () => {
  const root = tree([...LINKED, ...HOST, 'create /ports/1/ana_groups/9', 'create /ports/1/referrals/r']);
  for (const path of ['/ports/1', '/subsystems/s', '/hosts/h']) {
    for (const change of deleteAll(findObject(root, path), path)) perform(root, change);
  }
  assert.equal(formatConfig(root), formatConfig(emptyTree()));
});

test('paths are those of configfs, with or without the slash at the beginning', () => {
  const root = tree(LINKED);
  for (const path of ['/ports/1', 'ports/1', '/ports/1/', '/sys/kernel/config/nvmet/ports/1', '//ports//1']) {
    assert.equal(findObject(root, path).name, '1', path);
  }
  assert.deepEqual(pathPieces('/sys/kernel/config/nvmet'), []);
  assert.equal(find(root, '/ports/1/subsystems').what, 'links');
  assert.equal(find(root, '/ports/1/subsystems/s').what, 'link');
  assert.equal(find(root, '/ports').what, 'group');
  for (const node of nodesOf(root)) assert.equal(findObject(root, nodePath(node)), node);
});

test('names of other objects of the language are no paths', () => {
  const root = tree(LINKED);
  for (const path of ['/constructor', '/__proto__', '/ports/constructor/x', '/ports/1/toString']) {
    assert.throws(() => find(root, path), { code: 'ENOENT' }, path);
  }
});

test('every attribute has a default that its own type takes', () => {
  const root = tree([...LINKED, ...HOST, ...REFERRAL.slice(1)]);
  for (const node of nodesOf(root)) {
    for (const row of KINDS[node.kind.name].attributes) {
      if (row.writeOnly) continue;
      assert.equal(row.type.parse(node.defaultOf(row)), node.defaultOf(row), `${node.kind.name} ${row.name}`);
    }
  }
});
