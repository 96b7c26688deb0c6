import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { replaceFile } from '@nvbraid/blockdev';
import { ControlClient, isObject, type Params } from '@nvbraid/manage';
import { type ConfigNode, type Edit, editText, findObject, NvbraidError, parseConfig } from 'nvbraid';
import { command } from '../command.ts';
import { fileProblem } from '../file-error.ts';
import { onlyProcess } from '../open-session.ts';
import { outputOptions, processOptions } from '../options.ts';
import { attributesOf, listing, listingText, splitAttribute } from '../target-listing.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

/** A large configuration opens thousands of files: a client that gave up earlier would not learn what became of it. */
const CHANGE_MS = 600_000;

/** A connection to the process whose target it is. */
interface Session {
  readonly client: ControlClient;
  readonly json: boolean;
  readonly long: boolean;
  readonly recursive: boolean;
  readonly terminal: Terminal;
}

interface Verb {
  /** As in the help: what follows the verb. */
  readonly usage: string;
  readonly help: string;
  run(session: Session, words: readonly string[]): Promise<void>;
}

const VERBS: Readonly<Record<string, Verb>> = {
  ls: {
    usage: 'ls [PATH]',
    help: 'list a directory; -l with the values of attributes, -R with all that is below',
    async run(session, words) {
      const entries = listing(await treeOf(session), words[0] ?? '/', session);
      if (session.json) session.terminal.json(entries);
      else for (const line of listingText(entries, session.long)) session.terminal.line(line);
    },
  },
  get: {
    usage: 'get PATH [ATTRIBUTE…]',
    help: 'print attributes',
    async run(session, words) {
      const tree = await treeOf(session);
      const [path, names] = splitAttribute(tree, needed(words[0], 'PATH'), words.slice(1));
      const values = attributesOf(findObject(tree, path), path, names);
      if (session.json) session.terminal.json(Object.fromEntries(values));
      else if (names.length === 1) session.terminal.line(values[0]![1]);
      else for (const [name, value] of values) session.terminal.line(`${name}=${value}`);
    },
  },
  set: {
    usage: 'set PATH ATTRIBUTE=VALUE…',
    help: 'change attributes, all or none',
    run: (session, words) => {
      const path = needed(words[0], 'PATH');
      const edits = assignments(path, words.slice(1));
      if (edits.length === 0) throw new UsageError('set: ATTRIBUTE=VALUE is missing');
      return change(session, 'target.edit', { edits });
    },
  },
  create: {
    usage: 'create PATH [ATTRIBUTE=VALUE…]',
    help: 'make an object or a link, and set attributes',
    run: (session, words) => {
      const path = needed(words[0], 'PATH');
      return change(session, 'target.edit', { edits: [{ op: 'create', path }, ...assignments(path, words.slice(1))] });
    },
  },
  delete: {
    usage: 'delete PATH',
    help: 'delete an object with all that is in it, or a link',
    run: (session, words) => change(session, 'target.delete', { path: needed(words[0], 'PATH') }),
  },
  enable: {
    usage: 'enable PATH',
    help: 'enable a namespace or a referral',
    run: (session, words) => enable(session, words, '1'),
  },
  disable: {
    usage: 'disable PATH',
    help: 'disable a namespace or a referral',
    run: (session, words) => enable(session, words, '0'),
  },
  grpid: {
    usage: 'grpid PATH NUMBER',
    help: 'move a namespace to another ANA group',
    run: (session, words) =>
      change(session, 'target.edit', {
        edits: [
          { op: 'set', path: needed(words[0], 'PATH'), attribute: 'ana_grpid', value: needed(words[1], 'NUMBER') },
        ],
      }),
  },
  saveconfig: {
    usage: 'saveconfig [FILE]',
    help: 'write the configuration as nvmetcli does, mode 0600; - is standard output',
    async run(session, words) {
      const { text, file } = await fetched(session);
      const path = words[0] ?? file;
      if (path === null) throw new UsageError('saveconfig: FILE is missing; the process was not started with --config');
      if (path === '-') {
        await session.terminal.data(Buffer.from(text));
        return;
      }
      await replaceFile(path, text, { mode: 0o600, makeDirectory: true });
      if (session.json) session.terminal.json({ file: resolve(path) });
      else session.terminal.line(`saved ${path}`);
    },
  },
  restoreconfig: {
    usage: 'restoreconfig [FILE]',
    help: 'bring the target to what a file says; what does not differ is not touched; - is standard input',
    async run(session, words) {
      const text = await textIn(session, words[0]);
      await change(session, 'target.apply', { text });
    },
  },
  diff: {
    usage: 'diff [FILE]',
    help: 'print what restoreconfig would do',
    async run(session, words) {
      const text = await textIn(session, words[0]);
      show(session, await session.client.call('target.plan', { text }));
    },
  },
  clear: { usage: 'clear', help: 'delete everything', run: (session) => change(session, 'target.clear', {}) },
};

export const target = command({
  name: 'target',
  summary: 'Read and change the configuration of a running nvbraid serve',
  description: [
    'Paths and attributes are those of nvmet in configfs, e.g. /ports/1/ana_groups/1 and ana_state. Each command is done in full or not at all, and refused where nvmet would refuse it.',
    `Verbs: ${Object.values(VERBS)
      .map(({ usage, help }) => `${usage} (${help})`)
      .join('; ')}.`,
    'As in nvmetcli, the first word after the path may be the group of the attributes: set PATH attr allow_any_host=1 is set PATH attr_allow_any_host=1. Options that nvmet does not have are called nvbraid_….',
  ],
  options: {
    long: { type: 'flag', short: 'l', help: 'With ls: also the values of attributes' },
    recursive: { type: 'flag', short: 'R', help: 'With ls: also everything below' },
    socket: { ...processOptions.socket, help: 'Control socket of a running nvbraid serve; else the only one' },
    ...outputOptions,
  },
  operands: { value: 'VERB [PATH] [ATTRIBUTE=VALUE]', help: 'See above', min: 1, max: 64 },
  examples: [
    { line: 'nvbraid target ls -lR', help: 'everything' },
    { line: 'nvbraid target create /subsystems/NQN/namespaces/2 device_path=disk.img enable=1', help: 'another disk' },
    { line: 'nvbraid target set /ports/1/ana_groups/1 ana_state=inaccessible', help: 'hosts take another path' },
    { line: 'nvbraid target saveconfig /etc/nvbraid/config.json', help: 'for nvbraid serve --config' },
  ],
  async run({ options, operands, terminal }) {
    const [name, ...words] = operands;
    const verb = Object.hasOwn(VERBS, name!) ? VERBS[name!]! : undefined;
    if (verb === undefined) throw new UsageError(`'${name}' is none of ${Object.keys(VERBS).join(', ')}`);
    const client = await ControlClient.connect(options.socket ?? (await onlyProcess('serve')));
    try {
      const json = options['output-format'] === 'json';
      await verb.run({ client, json, long: options.long, recursive: options.recursive, terminal }, words);
    } finally {
      client.close();
    }
    return 0;
  },
});

function needed(word: string | undefined, what: string): string {
  if (word === undefined) throw new UsageError(`${what} is missing`);
  return word;
}

function enable(session: Session, words: readonly string[], value: string): Promise<void> {
  const path = needed(words[0], 'PATH');
  if (/^\/?ports\/[^/]+\/?$/.test(path)) {
    throw new UsageError(
      'a port is enabled by the first link in its subsystems directory and disabled when the last one is deleted; set nvbraid_listen=1 lets it listen without',
    );
  }
  return change(session, 'target.edit', { edits: [{ op: 'set', path, attribute: 'enable', value }] });
}

const GROUPS = ['attr', 'addr', 'param', 'device', 'ana', 'resv', 'discovery', 'nvbraid'];

/** `attr_serial=X`, or `attr serial=X` as in nvmetcli. A file is the caller's: its path is made absolute here. */
function assignments(path: string, words: readonly string[]): Edit[] {
  const grouped = words.length > 1 && GROUPS.includes(words[0]!);
  const prefix = grouped ? `${words[0]}_` : '';
  return words.slice(grouped ? 1 : 0).map((word) => {
    const equals = word.indexOf('=');
    if (equals <= 0) throw new UsageError(`'${word}' is not ATTRIBUTE=VALUE`);
    const attribute = prefix + word.slice(0, equals);
    const value = word.slice(equals + 1);
    return { op: 'set', path, attribute, value: attribute === 'device_path' && value !== '' ? resolve(value) : value };
  });
}

async function fetched(session: Session): Promise<{ text: string; file: string | null }> {
  const answer = await session.client.call('target.config');
  if (!isObject(answer) || typeof answer.text !== 'string') {
    throw new NvbraidError('EPROTO', `${session.client.path} answered with something else than a configuration`);
  }
  return { text: answer.text, file: typeof answer.file === 'string' ? answer.file : null };
}

async function treeOf(session: Session): Promise<ConfigNode> {
  return parseConfig((await fetched(session)).text).tree;
}

async function textIn(session: Session, word: string | undefined): Promise<string> {
  const path = word ?? (await fetched(session)).file;
  if (path === null) throw new UsageError('FILE is missing; the process was not started with --config');
  try {
    return path === '-' ? await standardInput() : await readFile(path, 'utf8');
  } catch (error) {
    throw new NvbraidError('ENOENT', `cannot read ${path}: ${fileProblem(error)}`, { cause: error, context: { path } });
  }
}

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function change(session: Session, method: string, params: Params): Promise<void> {
  show(session, await session.client.call(method, params, { timeoutMs: CHANGE_MS }));
}

/** What was, or would be, done. */
function show({ json, terminal }: Session, answer: unknown): void {
  const { edits, warnings } = answer as { edits: readonly Edit[]; warnings: readonly string[] };
  if (json) terminal.json({ edits, warnings });
  else for (const edit of edits) terminal.line(editText(edit));
  if (!json) for (const warning of warnings) terminal.note(`warning: ${warning}`);
}
