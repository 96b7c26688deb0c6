import assert from 'node:assert/strict';
import { test } from 'node:test';
import { command } from '../src/command.ts';
import { COMMANDS, findCommand } from '../src/command-table.ts';
import { parseArguments } from '../src/parse.ts';
import { nearest } from '../src/suggest.ts';
import { UsageError } from '../src/usage-error.ts';

const sample = command({
  name: 'sample',
  summary: '',
  description: [],
  options: {
    nqn: { type: 'text', short: 'n', value: 'NQN', help: '', env: 'SAMPLE_NQN' },
    'nr-io-queues': { type: 'number', short: 'i', value: 'NUMBER', min: 1, max: 128, default: 1, help: '' },
    'ctrl-loss-tmo': { type: 'number', short: 'l', value: 'SECONDS', min: -1, max: 600, help: '' },
    size: { type: 'size', value: 'BYTES', min: 512, max: 2 ** 40, help: '' },
    runtime: { type: 'seconds', value: 'SECONDS', min: 0.1, max: 100, help: '' },
    'hdr-digest': { type: 'flag', short: 'g', help: '' },
    'data-digest': { type: 'flag', short: 'G', help: '', aliases: ['ddgst'] },
    verbose: { type: 'count', short: 'v', help: '' },
    host: { type: 'list', value: 'NQN', help: '' },
    rw: { type: 'choice', choices: ['read', 'write'], default: 'read', help: '' },
  },
  operands: { value: 'FILE', help: '', min: 0, max: 2 },
  examples: [],
  run: async () => 0,
});

const DEFAULTS = {
  nqn: undefined,
  'nr-io-queues': 1,
  'ctrl-loss-tmo': undefined,
  size: undefined,
  runtime: undefined,
  'hdr-digest': false,
  'data-digest': false,
  verbose: 0,
  host: [],
  rw: 'read',
};

const GOOD: readonly [line: string, options: object, operands?: string[]][] = [
  ['', {}],
  ['-n a', { nqn: 'a' }],
  ['-na', { nqn: 'a' }],
  ['-n=a', { nqn: 'a' }],
  ['--nqn a', { nqn: 'a' }],
  ['--nqn=a=b', { nqn: 'a=b' }],
  ['--nq a', { nqn: 'a' }],
  ['-n a -n b', { nqn: 'b' }],
  ['-n -x', { nqn: '-x' }],
  ['-i 0x10', { 'nr-io-queues': 16 }],
  ['-l -1', { 'ctrl-loss-tmo': -1 }],
  ['--ctrl-loss-tmo=-1', { 'ctrl-loss-tmo': -1 }],
  ['--size 1.5GiB', { size: 1610612736 }],
  ['--runtime 0.5', { runtime: 0.5 }],
  ['--runtime 1m', { runtime: 60 }],
  ['-gG', { 'hdr-digest': true, 'data-digest': true }],
  ['-gGi4', { 'hdr-digest': true, 'data-digest': true, 'nr-io-queues': 4 }],
  ['-vv -v', { verbose: 3 }],
  ['--ddgst', { 'data-digest': true }],
  ['--dd', { 'data-digest': true }],
  ['--host a --host b', { host: ['a', 'b'] }],
  ['--rw write x', { rw: 'write' }, ['x']],
  ['x -g y', { 'hdr-digest': true }, ['x', 'y']],
  ['-g -- -n --size', { 'hdr-digest': true }, ['-n', '--size']],
  ['-', {}, ['-']],
];

for (const [line, options, operands = []] of GOOD) {
  test(`'${line}'`, () => {
    const parsed = parseArguments(sample, words(line));
    assert.deepEqual(parsed.options, { ...DEFAULTS, ...options });
    assert.deepEqual(parsed.operands, operands);
    assert.deepEqual([...parsed.given].sort(), Object.keys(options).sort());
    assert.equal(parsed.help, false);
  });
}

const BAD: readonly [line: string, message: RegExp][] = [
  ['-n', /^-n needs a value: -n NQN$/],
  ['--nqn', /^--nqn needs a value: --nqn NQN$/],
  ['--nqn=', /^--nqn must not be empty$/],
  ['-z', /^unknown option -z$/],
  ['--nqm a', /^unknown option --nqm; did you mean --nqn\?$/],
  ['--frobnicate', /^unknown option --frobnicate$/],
  ['--', /^$/],
  ['--n a', /^--n may mean --nqn, --nr-io-queues$/],
  ['--constructor', /^unknown option --constructor$/],
  ['-i x', /^-i: 'x' is not a whole number$/],
  ['-i 1.5', /'1.5' is not a whole number/],
  ['-i 0', /^-i: 0 is less than 1$/],
  ['-i 129', /^-i: 129 is more than 128$/],
  ['--size 3x', /'3x' is not a size such as 4096, 4k, 512MiB or 1GiB/],
  ['--size 100', /^--size: 100 B is less than 512 B$/],
  ['--runtime 0', /0 s is less than 0.1 s/],
  ['--runtime fast', /'fast' is not a time in seconds/],
  ['--hdr-digest=yes', /^--hdr-digest takes no value$/],
  ['--rw trim', /^--rw: 'trim' is none of read, write$/],
  ['a b c', /^unexpected argument 'c'$/],
];

for (const [line, message] of BAD.filter(([line]) => line !== '--')) {
  test(`'${line}' is refused`, () => {
    assert.throws(
      () => parseArguments(sample, words(line)),
      (error: unknown) => error instanceof UsageError && message.test(error.message),
    );
  });
}

test('the environment gives what the command line does not', () => {
  assert.equal(parseArguments(sample, [], { SAMPLE_NQN: 'e' }).options.nqn, 'e');
  assert.equal(parseArguments(sample, ['-n', 'a'], { SAMPLE_NQN: 'e' }).options.nqn, 'a');
  assert.equal(parseArguments(sample, [], { SAMPLE_NQN: '' }).options.nqn, undefined);
});

test('--help wins over everything after a correct beginning', () => {
  for (const line of ['-h', '--help', 'a b c -h', '-gh']) assert.equal(parseArguments(sample, words(line)).help, true);
});

test('the table is in order: letters and names are unique, nothing hides --help', () => {
  assert.equal(new Set(COMMANDS.map(({ name }) => name)).size, COMMANDS.length);
  for (const { name, options, examples, summary } of COMMANDS) {
    const letters = Object.values(options).flatMap((option) => option.short ?? []);
    const names = Object.entries(options).flatMap(([long, option]) => [long, ...(option.aliases ?? [])]);
    assert.equal(new Set(letters).size, letters.length, `${name}: letters`);
    assert.equal(new Set(names).size, names.length, `${name}: names`);
    assert.ok(!letters.includes('h') && !names.includes('help'), name);
    assert.ok(!summary.endsWith('.') && examples.length > 0, name);
    for (const option of Object.values(options)) assert.match(option.help, /^[A-Z].*[^.]$/, `${name}: ${option.help}`);
  }
});

test('options have the letters of nvme-cli', () => {
  const letters = Object.fromEntries(
    Object.entries(findCommand(['connect'])!.command.options).flatMap(([name, { short }]) =>
      short ? [[short, name]] : [],
    ),
  );
  assert.deepEqual(letters, {
    t: 'transport',
    n: 'nqn',
    a: 'traddr',
    s: 'trsvcid',
    w: 'host-traddr',
    f: 'host-iface',
    q: 'hostnqn',
    I: 'hostid',
    i: 'nr-io-queues',
    W: 'nr-write-queues',
    Q: 'queue-size',
    k: 'keep-alive-tmo',
    c: 'reconnect-delay',
    l: 'ctrl-loss-tmo',
    T: 'tos',
    D: 'duplicate-connect',
    g: 'hdr-digest',
    G: 'data-digest',
    o: 'output-format',
    v: 'verbose',
  });
});

test('examples are command lines that parse', () => {
  for (const { name, examples } of COMMANDS) {
    for (const { line } of examples) {
      const match = /\bnvbraid ([^|<>)]+)/.exec(line);
      if (match === null) continue;
      const found = findCommand(words(match[1]!.trim()));
      assert.ok(found !== null, line);
      assert.equal(found.command.name, name, line);
      parseArguments(found.command, found.rest);
    }
  }
});

test('commands in two words, as nvme-cli 3 spells them', () => {
  const found = findCommand(['id', 'ctrl', '-o', 'json']);
  assert.equal(found?.command.name, 'id-ctrl');
  assert.deepEqual(found?.rest, ['-o', 'json']);
  assert.equal(findCommand(['id', 'nothing']), null);
});

test('suggestions are close', () => {
  assert.equal(nearest('conect', ['connect', 'list']), 'connect');
  assert.equal(nearest('sreve', ['serve', 'read']), 'serve');
  assert.equal(nearest('xyz', ['serve', 'read', 'list']), null);
  assert.equal(nearest('id', ['list', 'read']), null);
});

function words(line: string): string[] {
  return line === '' ? [] : line.split(' ');
}
