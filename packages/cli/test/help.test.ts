import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS } from '../src/command-table.ts';
import { Terminal } from '../src/terminal.ts';
import { nvbraid, Sink } from './support/in-process.ts';

/* After a change that is meant: node --test --test-update-snapshots packages/cli/test/help.test.ts */

test('nvbraid --help', async (t) => {
  const { code, out, err } = await nvbraid(['--help']);
  assert.equal(code, 0);
  assert.equal(err, '');
  t.assert.snapshot(out.split('\n'));
  assert.deepEqual(await nvbraid(['help']), { code, out, err });
});

for (const { name } of COMMANDS) {
  test(`nvbraid ${name} --help`, async (t) => {
    const { code, out, err } = await nvbraid([name, '--help']);
    assert.equal(code, 0);
    assert.equal(err, '');
    for (const line of out.split('\n')) assert.ok(line.length <= 120, line);
    t.assert.snapshot(out.split('\n'));
    assert.deepEqual(await nvbraid(['help', name]), { code, out, err });
  });
}

test('without a command: the overview, as a usage error', async () => {
  const { code, out, err } = await nvbraid([]);
  assert.equal(code, 2);
  assert.equal(out, '');
  assert.match(err, /^nvbraid: NVMe over Fabrics/);
});

test('the version', async () => {
  for (const word of ['--version', 'version', '-V']) {
    const { code, out } = await nvbraid([word]);
    assert.equal(code, 0);
    assert.match(out, /^nvbraid \d+\.\d+\.\d+\n$/);
  }
});

test('colours and status lines only on a terminal that wants them', () => {
  const make = (tty: boolean, env: Record<string, string>): [Sink, Terminal] => {
    const sink = new Sink();
    sink.isTTY = tty;
    sink.columns = 20;
    return [sink, new Terminal(sink, sink, env)];
  };
  const [plain, pipe] = make(false, {});
  pipe.status('busy');
  pipe.line(pipe.style('red', 'x'));
  assert.equal(plain.text, 'x\n');
  const [colourless, quiet] = make(true, { NO_COLOR: '1' });
  quiet.line(quiet.style('red', 'x'));
  assert.equal(colourless.text, 'x\n');
  const [dumb, simple] = make(true, { TERM: 'dumb' });
  simple.status('busy');
  simple.line(simple.style('red', 'x'));
  assert.equal(dumb.text, 'x\n');
  const [rich, live] = make(true, {});
  live.status(`${live.style('green', 'live')} a text that is too long for the line`);
  live.line('event');
  live.endStatus();
  const status = '\x1b[32mlive\x1b[0m a text that is';
  assert.equal(rich.text, `${status}\r\x1b[Kevent\n${status}\r\x1b[K`);
});
