import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { ALL, type CaseResult, casesOf, jsonOf, withRatios } from '../netns/cases.ts';
import { chart } from '../netns/chart.ts';
import { failures, type LoadResult } from '../netns/load.ts';
import { depthFor } from '../netns/matrix.ts';
import { readOptions, UsageError } from '../netns/options.ts';
import { lossyShape, netemOf, tbfOf } from '../netns/shape.ts';
import { tables } from '../netns/table.ts';

const CASE = {
  iopolicy: 'numa',
  loss: '0',
  op: 'read',
  rate_mbit: 100,
  delay_ms: 0,
  loss_percent: 0,
  shaper: 'tbf',
} as const;
const MEASURED = { failed: null, congestion: 'cubic', seconds: 10, queues: 1, depth: 95, p50_ms: 1, p99_ms: 2 };
const one = (transport: 'tcp' | 'mptcp', paths: number, mib_s: number, op: 'read' | 'write' = 'read') => ({
  ...{ ...CASE, ...MEASURED, transport, paths, mib_s, op },
});

describe('the options of npm run netns', () => {
  test('the four arguments of the selftest, or the same by name, or lists', () => {
    assert.deepEqual(readOptions([]).lists, {
      ...{ transport: ['mptcp'], paths: [1], iopolicy: ['numa'], loss: ['0'] },
    });
    const wanted = { transport: ['tcp'], paths: [4], iopolicy: ['round-robin'], loss: ['1'] };
    assert.deepEqual(readOptions(['tcp', '4', 'round-robin', '1']).lists, wanted);
    assert.deepEqual(readOptions(['tcp', '--paths', '4', '--iopolicy=round-robin', '--loss', '1']).lists, wanted);
    assert.deepEqual(readOptions(['tcp,mptcp,tcp', '1,4']).lists.transport, ['tcp', 'mptcp']);
    assert.deepEqual(readOptions(['--all']).lists, ALL);
    assert.deepEqual(readOptions(['--story', 'link-down', '--story', 'all-down']).stories, ['link-down', 'all-down']);
    assert.equal(readOptions(['--story', 'all']).stories.length, 5);
  });

  for (const [argv, said] of [
    [['rdma'], /transport: 'rdma' is none of tcp, mptcp/],
    [['tcp', '5'], /paths: '5' is none of 1, 2, 3, 4/],
    [['tcp', '1', 'numa', '0', '9'], /'9' is one too many/],
    [['tcp', '--transport', 'tcp'], /transport is given twice/],
    [['--all', 'tcp'], /--all has every transport: leave it out/],
    [['--all', '--story', 'all'], /exclude each other/],
    [['--story', 'nothing'], /story: 'nothing' is none of link-down/],
    [['--rate', ''], /--rate: '' is not a number from 1/],
    [['--depth', '1.5'], /--depth: '1.5' is not a whole number/],
    [['--congestion', 'x; rm'], /--congestion: 'x; rm' is not a name/],
    [['--bogus'], /bogus/],
  ] as const) {
    test(`refused: ${argv.join(' ')}`, () => {
      assert.throws(
        () => readOptions(argv),
        (error) => error instanceof UsageError && said.test(error.message),
      );
    });
  }

  test('--help tells all options, and a wrong one is exit code 2', () => {
    const run = (...args: readonly string[]) =>
      spawnSync(process.execPath, [new URL('../netns/netns.ts', import.meta.url).pathname, ...args], {
        encoding: 'utf8',
      });
    const help = run('--help');
    assert.equal(help.status, 0);
    for (const name of ['--all', '--story', '--rate', '--json', '--clean', 'Examples:'])
      assert.ok(help.stdout.includes(name));
    const wrong = run('--rate', 'x');
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /^netns: --rate: 'x' is not a number.*\n.*--help tells more\n$/);
  });
});

test('the depth is what one link carries in a second', () => {
  assert.equal(depthFor(100), 95);
  assert.equal(depthFor(1000), 954);
  assert.equal(depthFor(1), 16);
});

test('what tc is told', () => {
  assert.equal(netemOf(lossyShape(1000)).join(' '), 'netem limit 1000 rate 1000000000bit delay 5ms loss 0.5%');
  assert.equal(tbfOf(lossyShape(100)).join(' '), 'tbf rate 100000000bit burst 70000 limit 1500000');
});

test('everything is 30 cases, those with the same links and target beside each other', () => {
  const cases = casesOf(ALL);
  assert.equal(cases.length, 30);
  const keys = cases.map(({ loss, paths, transport }) => `${loss} ${paths} ${transport}`);
  assert.equal(keys.filter((key, i) => key !== keys[i - 1]).length, 12);
});

test('ratios are to TCP with one path, and null where that was not measured', () => {
  const results = withRatios([one('tcp', 1, 11.4), one('mptcp', 1, 45), one('mptcp', 1, 44, 'write')]);
  assert.deepEqual(
    results.map(({ ratio_to_tcp_1path: ratio }) => ratio),
    [1, 3.95, null],
  );
  const [first] = results.map(jsonOf);
  assert.deepEqual(Object.keys(first!).slice(0, 8), [
    ...['transport', 'paths', 'iopolicy', 'loss', 'loss_unit', 'op', 'mib_s', 'ratio_to_tcp_1path'],
  ]);
});

describe('table and chart', () => {
  const results: CaseResult[] = withRatios([
    ...[one('tcp', 1, 11.4), one('tcp', 1, 11.3, 'write'), one('mptcp', 1, 44.7), one('mptcp', 1, 43.4, 'write')],
    { ...one('tcp', 4, 15.1), loss: '1', iopolicy: 'round-robin' },
  ]);

  test('a table for each kind of link; what was not measured is a dash', () => {
    const lines = tables(results);
    assert.ok(
      lines.includes('| 1     | any      |     11.4 |  11.3 |       44.7 |  43.4 |      3.92x | 3.84x |'),
      lines.join('\n'),
    );
    assert.ok(lines.some((line) => /^\| 4 +\| round-robin \| +15\.1 \| +- \| +- \| +- \| +- \| +- \|$/.test(line)));
    assert.equal(lines.filter((line) => line.startsWith('4 x 100 Mbit/s')).length, 2);
  });

  test('what failed is marked, and told below', () => {
    const lines = tables([{ ...results[0]!, failed: 'controller 1 is gone: keep alive timeout' }]);
    assert.ok(lines.some((line) => line.includes('11.4 *')));
    assert.equal(lines.at(-1), '* failed: tcp 1 numa read: controller 1 is gone: keep alive timeout');
  });

  test('a chart is one SVG with a bar for each result, none outside', () => {
    const svg = chart(results);
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="(\d+)" height="(\d+)"/);
    const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(svg)!.map(Number);
    const rects = [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)];
    assert.equal(rects.length, results.length + 4, 'bars and the legend');
    for (const [text, ...numbers] of rects) {
      const [x, y, w, h] = numbers.map(Number) as [number, number, number, number];
      assert.ok(x + w <= width! && y + h <= height!, text);
    }
    assert.equal(svg.match(/<text/g)!.length, svg.match(/<\/text>/g)!.length);
  });
});

test('failure is an error, a lost path or a failed keep-alive, and nothing else', () => {
  const path = { name: 'nvme0', address: '', state: 'live', commands: 9, failovers: 0, resets: 0, reconnects: 0 };
  const good = { error: null, total: { ios: 9, errors: 0 }, failover: { paths: [path] } } as unknown as LoadResult;
  assert.deepEqual(failures(good, [], ['controller 1 is gone: connection closed']), []);
  assert.deepEqual(failures(good, [], ['controller 1 is gone: keep alive timeout']).length, 1);
  assert.deepEqual(failures({ ...good, total: { ios: 9, errors: 2 } }, [], []), ['2 operations ended with an error']);
  const lost = { ...good, failover: { ...good.failover, paths: [{ ...path, resets: 1, reconnects: 1 }] } };
  assert.match(failures(lost, [], [])[0]!, /nvme0 was lost 1 times/);
});
