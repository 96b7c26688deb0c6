import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { nvbraid, ok } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:faulty';

/** Filters and faults of a `nvbraid serve` in a process of its own, changed while it runs. */
describe('nvbraid fault and nvbraid filter', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  let serve: Cli;
  let port: string;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  before(async () => {
    const filters = ['stats', 'error,ops=none', 'delay,name=slow,seed=9'].flatMap((filter) => ['--filter', filter]);
    const where = ['--memory', '--size', '8MiB', '-s', '0', '--nqn', NQN, '--no-discovery', '--reactors', '2'];
    serve = sandbox.start(['serve', ...where, ...filters]);
    port = (await serve.printed(/ -s (\d+) -n /))[1]!;
    await serve.printed(/Ctrl-C stops/);
  });
  after(() => sandbox.close());

  const refused = async (code: number, sentence: RegExp, ...argv: string[]): Promise<void> => {
    const result = await nvbraid(argv);
    assert.equal(result.code, code, result.err);
    assert.match(result.err, sentence);
  };
  const write = () =>
    nvbraid([
      'write',
      '--start-block',
      '5',
      '-c',
      '0',
      '--data',
      sandbox.file('data'),
      '-a',
      '127.0.0.1',
      '-s',
      port,
      '-n',
      NQN,
    ]);

  test('filter list shows settings, and what was counted', async () => {
    await sandbox.run(['write', '--start-block', '5', '-c', '0', '-a', '127.0.0.1', '-s', port, '-n', NQN], 'x');
    const text = await ok('filter', 'list');
    assert.match(
      text,
      new RegExp(`^namespace 1 of ${NQN}\n {2}stats: enabled=true\n {4}write: count 1, bytes 4096, errors 0`),
    );
    assert.match(text, /^ {2}slow \(delay\): read=0 .*seed=9\n {4}held: 0\n {4}can be told to: release$/m);
    const [{ nqn, nsid, filters }] = JSON.parse(await ok('filter', 'list', '--nsid', '1', '-o', 'json'));
    assert.deepEqual([nqn, nsid, filters.length], [NQN, 1, 3]);
    assert.equal(filters[0].report.write.count, 1);
  });

  test('filter set is in force for the next command', async () => {
    await sandbox.run([
      'read',
      '--start-block',
      '5',
      '-c',
      '0',
      '--data',
      'data',
      '-a',
      '127.0.0.1',
      '-s',
      port,
      '-n',
      NQN,
    ]);
    const changed = JSON.parse(
      await ok('filter', 'set', 'error', 'ops=write', 'result=no-space', 'count=1', '-o', 'json'),
    );
    assert.deepEqual([changed.settings.ops, changed.report.left], ['write', 1]);
    const failed = await write();
    assert.equal(failed.code, 1);
    assert.match(failed.err, /Capacity Exceeded/);
    assert.equal((await write()).code, 0);
    assert.match(await ok('filter', 'set', 'slow', 'read=uniform 1ms 2ms'), /^slow \(delay\): 'read=uniform 1ms 2ms' /);
    assert.match(await ok('filter', 'run', 'stats', 'reset'), /^stats: enabled=true\n {2}can be told to: reset$/m);
  });

  test('what is wrong is refused with a sentence that says what', async () => {
    await refused(
      1,
      /no namespace has a filter fast|the namespace has no filter "fast"; it has stats, error, slow/,
      'filter',
      'set',
      'fast',
      'a=1',
    );
    await refused(1, /filter slow: read is a delay such as '5ms'.* not "soon"/, 'filter', 'set', 'slow', 'read=soon');
    await refused(1, /filter error: there is no setting "op"/, 'filter', 'set', 'error', 'op=write');
    await refused(1, /has no action "release"; it has reset/, 'filter', 'run', 'stats', 'release');
    await refused(1, /fault: action is one of drop/, 'fault', 'add', 'explode');
    await refused(2, /'=3' is not KEY=VALUE/, 'fault', 'add', 'drop', '=3');
    await refused(1, /there is no fault 77; there is none/, 'fault', 'remove', '77');
    await refused(2, /'x' is not the number of a fault/, 'fault', 'remove', 'x');
    await refused(2, /--filter: there is no filter "slow"; there are delay/, 'serve', '--filter', 'slow,read=5ms');
    await refused(1, /there is no subsystem nqn.2026-01.no:where/, 'filter', 'list', '-n', 'nqn.2026-01.no:where');
  });

  test('fault add, list, remove, clear', async () => {
    const [first, second] = [
      await ok('fault', 'add', 'drop', 'opcode=flush', 'count=2', 'seed=5'),
      await ok('fault', 'add', 'ana-flap', 'interval=1h', 'state=non-optimized'),
    ];
    assert.match(first!, /^1: drop opcode=flush count=2 seed=5, 0 hits, 2 left$/m);
    assert.match(second!, /^2: ana-flap interval=3600000 state=non-optimized, 0 hits$/m);
    assert.deepEqual(
      JSON.parse(await ok('fault', 'list', '-o', 'json')).map(({ id, rule }: { id: number; rule: object }) => [
        id,
        rule,
      ]),
      [
        [1, { action: 'drop', opcode: 'flush', count: 2, seed: 5 }],
        [2, { action: 'ana-flap', interval: 3_600_000, state: 'non-optimized' }],
      ],
    );
    await ok('fault', 'remove', '1');
    assert.match(await ok('fault', 'clear'), /^removed 1 fault$/m);
    assert.deepEqual(JSON.parse(await ok('fault', 'list', '-o', 'json')), []);
  });

  test('bench --verify history through faults of the wire: commands fail, and no block is wrong', async () => {
    await ok('fault', 'add', 'corrupt', 'qid=1-2', 'probability=0.001', 'seed=3');
    await ok('fault', 'add', 'kill-queue', 'qid=1-2', 'skip=500', 'count=1');
    await ok('fault', 'add', 'delay', 'time=2ms', 'pdu=CapsuleResp', 'probability=0.01', 'seed=3');
    const where = ['-a', '127.0.0.1', '-s', port, '-n', NQN, '-g', '-G', '-i', '2'];
    const bench = ['bench', '--rw', 'randrw', '--runtime', '2', '--verify', 'history', '--size', '1MiB', '-o', 'json'];
    const { out, err } = await nvbraid([...bench, ...where]);
    assert.notEqual(out, '', err);
    const result = JSON.parse(out);
    assert.equal(result.verify.violation, null, err);
    assert.ok(result.verify.checked_blocks > 0);
    const hits = JSON.parse(await ok('fault', 'list', '-o', 'json')).map((fault: { hits: number }) => fault.hits);
    assert.equal(hits[1], 1, `a queue was killed: ${hits}`);
    await ok('fault', 'clear');
  });
});
