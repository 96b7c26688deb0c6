import fc from 'fast-check';
import { type Edit, perform } from '../../src/config/edits.ts';
import { KINDS } from '../../src/config/kinds.ts';
import { type ConfigNode, emptyTree, nodePath, nodesOf } from '../../src/config/tree.ts';

const NQNS = ['nqn.a', 'nqn.b', 'nqn.c'];
const HOSTS = ['host-1', 'host-2'];

const values: Readonly<Record<string, readonly string[]>> = {
  discovery_nqn: ['nqn.disc', 'nqn.2014-08.org.nvmexpress.discovery', 'nqn.c'],
  attr_allow_any_host: ['0', '1'],
  attr_version: ['1.3', '2.1', '1.4'],
  attr_serial: ['S1', 'S2'],
  attr_model: ['M 1', 'Linux'],
  attr_firmware: ['1', '2'],
  attr_ieee_oui: ['0x000001', '0xabcdef'],
  attr_cntlid_min: ['1', '5', '100'],
  attr_cntlid_max: ['1', '50', '65519'],
  attr_vendor_id: ['0x1af4'],
  attr_subsys_vendor_id: ['0x1'],
  attr_qid_max: ['1', '128'],
  device_path: ['/a.img', '/b.img', '/c d.img'],
  device_uuid: ['43c4260a-826b-475d-9b42-883b4258f53f', '91fdba0d-f87b-4c25-b80f-db7be1418b9e'],
  device_nguid: ['ef90689c-6c46-d44c-89c1-4067801309a8', '00000000-0000-0000-0000-000000000000'],
  ana_grpid: ['1', '2', '128'],
  buffered_io: ['0', '1'],
  nvbraid_memory: ['', '1MiB', '4096'],
  nvbraid_block_size: ['512', '4096', ''],
  nvbraid_read_only: ['0', '1'],
  enable: ['0', '1'],
  admin_timeout: ['7'],
  addr_trtype: ['tcp', 'mptcp', 'rdma', ''],
  addr_adrfam: ['ipv4', 'ipv6'],
  addr_traddr: ['127.0.0.1', '::1', '0.0.0.0'],
  addr_trsvcid: ['4420', '4421', '8009'],
  addr_treq: ['not specified', 'not required'],
  param_mdts: ['-1', '5'],
  nvbraid_listen: ['0', '1'],
  ana_state: ['optimized', 'non-optimized', 'inaccessible', 'persistent-loss', 'change'],
  addr_portid: ['0', '9'],
};

const paths = [
  ...NQNS.flatMap((nqn) => [
    `/subsystems/${nqn}`,
    `/subsystems/${nqn}/namespaces/1`,
    `/subsystems/${nqn}/namespaces/7`,
    ...HOSTS.map((host) => `/subsystems/${nqn}/allowed_hosts/${host}`),
  ]),
  ...HOSTS.map((host) => `/hosts/${host}`),
  ...['1', '2'].flatMap((port) => [
    `/ports/${port}`,
    `/ports/${port}/ana_groups/2`,
    `/ports/${port}/referrals/r`,
    ...NQNS.map((nqn) => `/ports/${port}/subsystems/${nqn}`),
  ]),
];

interface Wish {
  readonly op: 'create' | 'delete' | 'set';
  readonly at: number;
  readonly which: number;
  readonly value: number;
}

const wish: fc.Arbitrary<Wish> = fc.record({
  op: fc.constantFrom('create', 'create', 'create', 'set', 'set', 'set', 'set', 'set', 'delete'),
  at: fc.nat(1000),
  which: fc.nat(1000),
  value: fc.nat(1000),
});

/** Makes wishes come true as far as the rules allow; answers the edits that were. */
export function carryOut(tree: ConfigNode, wishes: readonly Wish[]): Edit[] {
  const done: Edit[] = [];
  for (const { op, at, which, value } of wishes) {
    let edit: Edit;
    if (op === 'set') {
      const nodes = [...nodesOf(tree)];
      const node = nodes[at % nodes.length]!;
      const rows = KINDS[node.kind.name].attributes.filter((row) => row.name in values);
      if (rows.length === 0) continue;
      const row = rows[which % rows.length]!;
      const list = values[row.name]!;
      edit = { op, path: nodePath(node), attribute: row.name, value: list[value % list.length]! };
    } else edit = { op, path: paths[at % paths.length]! };
    try {
      perform(tree, edit);
      done.push(edit);
    } catch {
      // The rules are tested elsewhere.
    }
  }
  return done;
}

/** Everything at once that makes a tree worth comparing: subsystems, enabled namespaces, ports that listen. */
function furnished(): ConfigNode {
  const tree = emptyTree();
  const edits: Edit[] = [
    { op: 'create', path: '/hosts/host-1' },
    { op: 'create', path: '/subsystems/nqn.a' },
    { op: 'create', path: '/subsystems/nqn.a/namespaces/1' },
    { op: 'set', path: '/subsystems/nqn.a/namespaces/1', attribute: 'device_path', value: '/a.img' },
    { op: 'set', path: '/subsystems/nqn.a/namespaces/1', attribute: 'enable', value: '1' },
    { op: 'create', path: '/subsystems/nqn.a/allowed_hosts/host-1' },
    { op: 'create', path: '/ports/1' },
    { op: 'set', path: '/ports/1', attribute: 'addr_trtype', value: 'tcp' },
    { op: 'set', path: '/ports/1', attribute: 'addr_adrfam', value: 'ipv4' },
    { op: 'set', path: '/ports/1', attribute: 'addr_traddr', value: '127.0.0.1' },
    { op: 'set', path: '/ports/1', attribute: 'addr_trsvcid', value: '4420' },
    { op: 'create', path: '/ports/1/subsystems/nqn.a' },
  ];
  for (const edit of edits) perform(tree, edit);
  return tree;
}

/** A tree that the rules allow. */
export const tree: fc.Arbitrary<ConfigNode> = fc
  .tuple(fc.boolean(), fc.array(wish, { maxLength: 80 }))
  .map(([full, wishes]) => {
    const made = full ? furnished() : emptyTree();
    carryOut(made, wishes);
    return made;
  });
