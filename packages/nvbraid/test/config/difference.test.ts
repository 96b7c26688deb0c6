import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import fc from 'fast-check';
import { difference } from '../../src/config/difference.ts';
import { type Edit, editText, NO_FACTS, perform } from '../../src/config/edits.ts';
import { formatConfig, parseConfig } from '../../src/config/nvmetcli-json.ts';
import { type Backend, transact } from '../../src/config/transaction.ts';
import { type ConfigNode, emptyTree, nodePath, nodesOf } from '../../src/config/tree.ts';
import { tree } from './random-tree.ts';

/** What a tree says, without the order of directories. */
function essence(root: ConfigNode): unknown {
  return [...nodesOf(root)]
    .map((node) => [
      nodePath(node),
      node.kind.attributes.map((row) => [row.name, node.get(row.name)]),
      [...node.links].map(([name, links]) => [name, [...links].sort()]),
    ])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

const runs = { numRuns: 1000, verbose: 1 } as const;

test('a valid tree comes back from its JSON as it was, and the same JSON is written again', () => {
  fc.assert(
    fc.property(tree, (made) => {
      const text = formatConfig(made);
      const { tree: read } = parseConfig(text);
      assert.deepEqual(essence(read), essence(made));
      assert.equal(formatConfig(read), text);
    }),
    runs,
  );
});

test('the difference of two trees, applied to the first, gives the second', () => {
  fc.assert(
    fc.property(tree, tree, (from, to) => {
      const now = from.clone();
      for (const edit of difference(from, to)) perform(now, edit);
      assert.deepEqual(essence(now), essence(to));
      assert.deepEqual(difference(now, to), []);
    }),
    runs,
  );
});

test('a copy of a tree does not change with it', () => {
  fc.assert(
    fc.property(tree, tree, (from, to) => {
      const copy = from.clone();
      const text = formatConfig(from);
      for (const edit of difference(from, to)) perform(from, edit);
      assert.equal(formatConfig(copy), text);
    }),
    runs,
  );
});

/** Keeps a tree of its own, as a target does, and fails at one edit. */
class FailingBackend implements Backend {
  readonly facts = NO_FACTS;
  readonly own: ConfigNode;
  #left: number;
  settledTimes = 0;

  constructor(own: ConfigNode, failAt: number) {
    this.own = own;
    this.#left = failAt;
  }

  async apply(edit: Edit): Promise<void> {
    if (this.#left-- === 0) throw new NvbraidError('EADDRINUSE', 'somebody has it');
    perform(this.own, edit);
  }

  async check(): Promise<void> {}

  settled(): void {
    this.settledTimes++;
  }
}

test('a failure at any step leaves everything as it was before', async () => {
  await fc.assert(
    fc.asyncProperty(tree, tree, async (from, to) => {
      const edits = difference(from, to);
      for (let step = 0; step < edits.length; step++) {
        const now = from.clone();
        const backend = new FailingBackend(from.clone(), step);
        await assert.rejects(transact(now, edits, backend), (error: NvbraidError) => {
          assert.equal(error.code, 'EADDRINUSE');
          assert.equal(error.context.edit, editText(edits[step]!));
          return true;
        });
        assert.deepEqual(essence(now), essence(from));
        assert.deepEqual(essence(backend.own), essence(from));
        assert.equal(backend.settledTimes, 1);
      }
    }),
    { ...runs, numRuns: 100 },
  );
});

test('what cannot be taken back is said in full', async () => {
  const from = emptyTree();
  const failing = new Set(['create /hosts/c', 'delete /hosts/a', 'delete /hosts/b']);
  const backend: Backend = {
    facts: NO_FACTS,
    apply: async (edit) => {
      if (failing.has(editText(edit))) throw new NvbraidError('EBUSY', `no ${edit.path}`);
    },
    check: async () => {},
    settled() {},
  };
  const edits: Edit[] = ['a', 'b', 'c'].map((name) => ({ op: 'create', path: `/hosts/${name}` }));
  await assert.rejects(transact(from, edits, backend), {
    code: 'EIO',
    message:
      'no /hosts/c. What was done before that could not be taken back in full: delete /hosts/a: no /hosts/a; delete /hosts/b: no /hosts/b',
  });
  assert.deepEqual([...from.group('hosts').keys()], ['a', 'b'], 'the tree says what is there');
});

test('an edit that the rules forbid, in the middle of others, makes nothing happen', async () => {
  const done: string[] = [];
  const backend: Backend = {
    facts: NO_FACTS,
    apply: async (edit) => void done.push(edit.path),
    check: async () => {},
    settled() {},
  };
  const edits: Edit[] = [
    { op: 'create', path: '/subsystems/s' },
    { op: 'set', path: '/subsystems/s', attribute: 'attr_qid_max', value: '0' },
  ];
  const now = emptyTree();
  await assert.rejects(transact(now, edits, backend), { code: 'EINVAL' });
  assert.deepEqual([done, now.group('subsystems').size], [[], 0]);
});

function made(edits: readonly string[]): ConfigNode {
  const root = emptyTree();
  for (const line of edits) perform(root, editOf(line));
  return root;
}

function editOf(line: string): Edit {
  const match = /^(create|delete|set) (\S+)(?: (\w+)=(.*))?$/.exec(line)!;
  const [, op, path, attribute, value] = match;
  return op === 'set' ? { op, path: path!, attribute: attribute!, value: value! } : { op: op as 'create', path: path! };
}

const BASE = [
  'create /subsystems/a',
  'set /subsystems/a attr_allow_any_host=1',
  'create /subsystems/a/namespaces/1',
  'set /subsystems/a/namespaces/1 device_path=/old.img',
  'set /subsystems/a/namespaces/1 enable=1',
  'create /ports/1',
  'set /ports/1 addr_trtype=tcp',
  'set /ports/1 addr_adrfam=ipv4',
  'set /ports/1 addr_traddr=127.0.0.1',
  'set /ports/1 addr_trsvcid=4420',
  'create /ports/1/subsystems/a',
];

test('what is new and in nobody’s way is made before anything is taken away', () => {
  const from = made(BASE);
  const to = made([
    'create /subsystems/b',
    'create /subsystems/b/namespaces/1',
    'set /subsystems/b/namespaces/1 device_path=/new.img',
    'set /subsystems/b/namespaces/1 enable=1',
    ...BASE.filter((line) => line.includes('/ports/1')).map((line) =>
      line.replaceAll('/ports/1', '/ports/2').replace('4420', '4421').replace('subsystems/a', 'subsystems/b'),
    ),
  ]);
  const lines = difference(from, to).map(editText);
  const firstDelete = lines.findIndex((line) => line.startsWith('delete'));
  assert.deepEqual(lines.slice(firstDelete), [
    'delete /ports/1/subsystems/a',
    'delete /ports/1',
    'delete /subsystems/a/namespaces/1',
    'delete /subsystems/a',
  ]);
  assert.ok(lines.indexOf('create /ports/2/subsystems/b') < firstDelete);
});

test('a namespace that takes the file of one that goes waits until it has gone', () => {
  const from = made(BASE);
  const to = made(BASE.map((line) => line.replace('namespaces/1', 'namespaces/2')));
  const lines = difference(from, to).map(editText);
  assert.ok(
    lines.indexOf('delete /subsystems/a/namespaces/1') < lines.indexOf('set /subsystems/a/namespaces/2 enable=1'),
  );
});

test('an attribute that is fixed while its object is enabled changes in between', () => {
  const from = made(BASE);
  const to = made(BASE.map((line) => line.replace('/old.img', '/new.img').replace('=4420', '=4421')));
  assert.deepEqual(difference(from, to).map(editText), [
    'delete /ports/1/subsystems/a',
    'set /subsystems/a/namespaces/1 enable=0',
    'set /subsystems/a/namespaces/1 device_path=/new.img',
    'set /subsystems/a/namespaces/1 enable=1',
    'set /ports/1 addr_trsvcid=4421',
    'create /ports/1/subsystems/a',
  ]);
});

test('a range of controller identifiers moves up and down without being upside down', () => {
  const at = (min: number, max: number) =>
    made([
      'create /subsystems/a',
      `set /subsystems/a attr_cntlid_max=${max}`,
      `set /subsystems/a attr_cntlid_min=${min}`,
    ]);
  assert.deepEqual(difference(at(1, 10), at(20, 30)).map(editText), [
    'set /subsystems/a attr_cntlid_max=30',
    'set /subsystems/a attr_cntlid_min=20',
  ]);
  assert.deepEqual(difference(at(20, 30), at(1, 10)).map(editText), [
    'set /subsystems/a attr_cntlid_min=1',
    'set /subsystems/a attr_cntlid_max=10',
  ]);
});
