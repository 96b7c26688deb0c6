/*
 * Mutation testing: breaks the code of selection, submission, requeue and failover in one place at a time, in a copy,
 * and runs the tests on it. A mutant that no test notices survives. Not part of `npm test`: it takes minutes.
 *
 *     node packages/multipath/test/mutants.ts              all; exit status 1 below 90 %
 *     node packages/multipath/test/mutants.ts round-robin  only files whose name contains this
 *     node packages/multipath/test/mutants.ts --list       what would be done
 */
import { spawn } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Mutant {
  file: string;
  /** 1-based. */
  line: number;
  from: string;
  to: string;
}

const PACKAGE = join(import.meta.dirname, '..');
const GOAL = 0.9;
const TIMEOUT_MS = 20_000;
const WORKERS = 2;
const FILES = [
  'selectors/nearest.ts',
  'selectors/numa.ts',
  'selectors/round-robin.ts',
  'selectors/queue-depth.ts',
  'selectors/service-time.ts',
  'submitter.ts',
  'requeue-list.ts',
  'bio.ts',
  'iopolicy.ts',
  'latency.ts',
  'quarantine.ts',
  'rate-limit.ts',
  'removal.ts',
  'publication.ts',
  'head.ts',
];

/** Each turns one piece of code into another; applied to every place where it matches. */
const OPERATORS: readonly [RegExp, string][] = [
  [/===/g, '!=='],
  [/!==/g, '==='],
  [/ <= /g, ' < '],
  [/ >= /g, ' > '],
  [/ < /g, ' <= '],
  [/ > /g, ' >= '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/ \* /g, ' / '],
  [/\+\+/g, '--'],
  [/--/g, '++'],
  [/ \+= /g, ' -= '],
  [/ -= /g, ' += '],
  [/ \|= /g, ' &= '],
  [/ &= /g, ' |= '],
  [/ \| (?=BioFlag)/g, ' & '],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/(?<=[=<>] |\()0\b/g, '1'],
  [/(?<=[=<>] |\()1\b/g, '2'],
  [/AccessState\.Optimized/g, 'AccessState.NonOptimized'],
  [/AccessState\.NonOptimized/g, 'AccessState.Optimized'],
  [/\boptimized \?\? nonOptimized\b/g, 'nonOptimized ?? optimized'],
  [/Math\.max\b/g, 'Math.min'],
  [/Math\.min\b/g, 'Math.max'],
];

/** Strings and comments blanked, so that only code is changed. */
function blank(line: string): string {
  if (/^\s*(\*|\/\*)/.test(line)) return '';
  return line.replace(/'(?:[^'\\]|\\.)*'|`[^`]*`|\/\/.*$|\/\*.*?\*\//g, (piece) => ' '.repeat(piece.length));
}

function mutantsOf(file: string): Mutant[] {
  const lines = readFileSync(join(PACKAGE, 'src', file), 'utf8').split('\n');
  const found: Mutant[] = [];
  lines.forEach((text, i) => {
    const code = blank(text);
    const add = (to: string): void => {
      if (to !== text) found.push({ file, line: i + 1, from: text.trim(), to });
    };
    if (/^(import|export|\s*\*)/.test(code) && !/^export const \w+ = /.test(code)) return;
    for (const [pattern, replacement] of OPERATORS) {
      for (const match of code.matchAll(pattern)) {
        add(text.slice(0, match.index) + replacement + text.slice(match.index + match[0].length));
      }
    }
    const condition = /^(\s*(?:\} else )?if )\((.*)\) (\{|[^{}]*;)$/.exec(text);
    if (condition !== null && code !== '') add(`${condition[1]}(!(${condition[2]})) ${condition[3]}`);
    // A statement that is not there. Declarations are left, nothing could run without them.
    const statement =
      /^ {4,}(?!const |let |return\b|super\b)[^\s}].*;$/.test(code) && !/^\s*(readonly|\w+[?]?:)/.test(code);
    if (statement) add('');
  });
  return found;
}

/** A copy of the package in which one worker breaks things. */
class Workshop {
  readonly #root = mkdtempSync(join(tmpdir(), 'nvbraid-mutants-'));
  readonly #package = join(this.#root, 'packages', 'multipath');
  readonly #tests: string[];

  constructor() {
    mkdirSync(join(this.#root, 'node_modules', '@nvbraid'), { recursive: true });
    symlinkSync(join(PACKAGE, '..', 'base'), join(this.#root, 'node_modules', '@nvbraid', 'base'));
    for (const part of ['src', 'test', 'package.json']) {
      cpSync(join(PACKAGE, part), join(this.#package, part), { recursive: true });
    }
    // Those that need more than the package itself are left out.
    this.#tests = globSync('test/*.test.ts', { cwd: this.#package }).filter((file) => !file.includes('readme'));
  }

  /** Whether the tests pass. */
  passes(): Promise<boolean> {
    return new Promise((resolve) => {
      const child = spawn(
        process.execPath,
        ['--test', '--test-isolation=none', '--test-reporter=dot', ...this.#tests],
        {
          cwd: this.#package,
          stdio: 'ignore',
          env: { ...process.env, NVBRAID_MODEL_PIECES: '4', NVBRAID_MODEL_STEPS: '5000', NODE_TEST_CONTEXT: undefined },
          timeout: TIMEOUT_MS,
          killSignal: 'SIGKILL',
        },
      );
      child.on('close', (code) => resolve(code === 0));
    });
  }

  async survives(mutant: Mutant): Promise<boolean> {
    const path = join(this.#package, 'src', mutant.file);
    const original = readFileSync(path, 'utf8');
    const lines = original.split('\n');
    lines[mutant.line - 1] = mutant.to;
    writeFileSync(path, lines.join('\n'));
    try {
      return await this.passes();
    } finally {
      writeFileSync(path, original);
    }
  }

  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

const describe = ({ file, line, from, to }: Mutant): string =>
  `src/${file}:${line}\n    - ${from}\n    + ${to.trim() || '(nothing)'}`;

const [argument = ''] = process.argv.slice(2);
const list = argument === '--list';
const mutants = FILES.filter((file) => list || file.includes(argument)).flatMap(mutantsOf);

async function run(): Promise<void> {
  const shops = Array.from({ length: WORKERS }, () => new Workshop());
  process.once('SIGINT', () => {
    for (const shop of shops) shop.close();
    process.exit(130);
  });
  const survivors: Mutant[] = [];
  try {
    if (!(await shops[0]!.passes())) throw new Error('the tests fail without any change');
    let next = 0;
    await Promise.all(
      shops.map(async (shop) => {
        while (next < mutants.length) {
          const mutant = mutants[next++]!;
          if (!(await shop.survives(mutant))) continue;
          survivors.push(mutant);
          console.log(`survived: ${describe(mutant)}`);
        }
      }),
    );
  } finally {
    for (const shop of shops) shop.close();
  }
  const killed = mutants.length - survivors.length;
  const share = killed / mutants.length;
  console.log(`${killed} of ${mutants.length} mutants killed: ${(share * 100).toFixed(1)} %`);
  if (!(share >= GOAL)) process.exitCode = 1;
}

if (list) {
  for (const mutant of mutants) console.log(describe(mutant));
  console.log(`${mutants.length} mutants`);
} else {
  await run();
}
