import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { codeOnly, describeComplaint, importsOf, RULES, readTree, type SourceFile } from '../scripts/rules.ts';

describe('house rules', () => {
  const files = readTree(join(import.meta.dirname, '..'));
  for (const [name, rule] of Object.entries(RULES)) {
    test(name, () => {
      const complaints = rule(files).map(describeComplaint);
      assert.ok(complaints.length === 0, '\n' + complaints.join('\n'));
    });
  }
});

/** Each rule with files that break it, and where it must complain. */
const manifest = (more: object): string =>
  JSON.stringify(
    { name: '@nvbraid/x', version: '0.1.0', license: 'MIT', engines: { node: '>=22.18' }, ...more },
    null,
    1,
  );
const file = (path: string, text: string): SourceFile => ({ path, text });
const BROKEN: Record<keyof typeof RULES, [SourceFile[], string[]]> = {
  'packages import along the arrows of ARCHITECTURE.md': [
    [
      file(
        'packages/wire/src/a.ts',
        "import { x } from '@nvbraid/base';\nimport type {\n  y,\n} from '@nvbraid/target';\n",
      ),
      file('packages/host/src/b.ts', "export * from '@nvbraid/wire/src/layout.ts';\n"),
      file('packages/other/src/c.ts', ''),
    ],
    ['packages/wire/src/a.ts:4', 'packages/host/src/b.ts:1', 'packages/other/src/c.ts'],
  ],
  'relative imports end with .ts and stay in their package': [
    [
      file('packages/wire/src/tcp/a.ts', "import { x } from '../layout';\nimport '../../../base/src/ring.ts';\n"),
      file('packages/wire/src/tcp/fine.ts', "import '../layout.ts';\n"),
    ],
    ['packages/wire/src/tcp/a.ts:1', 'packages/wire/src/tcp/a.ts:2'],
  ],
  'node: modules only where there is I/O': [
    [
      file('packages/target/src/a.ts', "import { readFileSync } from 'node:fs';\n"),
      file('packages/cli/src/b.ts', "import { join } from 'path';\nimport 'node:fs';\n"),
    ],
    ['packages/target/src/a.ts:1', 'packages/cli/src/b.ts:1'],
  ],
  'no dependency but koffi, and that only in transport and blockdev': [
    [
      file('packages/transport/src/a.ts', "import koffi from 'koffi';\n"),
      file('packages/nvbraid/src/b.ts', "import koffi from 'koffi';\nawait import('left-pad');\n"),
    ],
    ['packages/nvbraid/src/b.ts:1', 'packages/nvbraid/src/b.ts:2'],
  ],
  'cores take time, chance and output from outside': [
    [
      file(
        'packages/host/src/a.ts',
        "// Date.now is not for us\nlet at = Date.now();\nsetTimeout(f, 1);\nclock.setTimeout(1);\nthis.process = 'Buffer';\nMath.random();\n",
      ),
    ],
    ['packages/host/src/a.ts:2', 'packages/host/src/a.ts:3', 'packages/host/src/a.ts:6'],
  ],
  'what is imported is declared in package.json': [
    [
      file('packages/wire/package.json', manifest({ dependencies: { '@nvbraid/base': '0.1.0' } })),
      file('packages/wire/src/a.ts', "import '@nvbraid/base';\nimport '@nvbraid/host';\n"),
    ],
    ['packages/wire/src/a.ts:2'],
  ],
  'dependencies have exact versions': [
    [file('packages/wire/package.json', manifest({ dependencies: { koffi: '^3.3.4' } }))],
    ['packages/wire/package.json:9'],
  ],
  'one version, licence and engine everywhere': [
    [
      file('package.json', manifest({})),
      file('packages/wire/package.json', manifest({ version: '0.2.0' })),
      file('packages/host/package.json', manifest({ dependencies: { '@nvbraid/x': '0.0.9' }, license: 'BSD' })),
    ],
    ['packages/wire/package.json:3', 'packages/host/package.json:9', 'packages/host/package.json'],
  ],
  'the lockfile is in step': [
    [
      file('package.json', manifest({})),
      file('packages/wire/package.json', manifest({ dependencies: { koffi: '3.3.4' } })),
      file(
        'package-lock.json',
        `{"packages": {"": {"version": "0.1.0"}, "packages/wire": {"version": "0.1.0"},
          "node_modules/tool": {"optionalDependencies": {
            "tool-for-mars": "1.0.0" } } } }`,
      ),
    ],
    ['package-lock.json:3', 'packages/wire/package.json'],
  ],
  'every package and the repository have their documents': [
    [
      file('packages/wire/package.json', manifest({})),
      ...['README.md', 'ARCHITECTURE.md', 'STYLE.md', 'CHANGELOG.md', 'docs/rows.md', 'docs/conformance.md'].map(
        (path) => file(path, ''),
      ),
    ],
    ['packages/wire/README.md', 'LICENSE'],
  ],
  'files are short and named in kebab-case': [
    [
      file('packages/wire/src/camelCase.ts', ''),
      file('scripts/x_y/long.ts', 'x\n'.repeat(600)),
      file('test/long.ts', 'x\n'.repeat(600)),
      file('.ci/run.sh', ''),
    ],
    ['packages/wire/src/camelCase.ts', 'scripts/x_y/long.ts:600', 'scripts/x_y/long.ts'],
  ],
  'no forbidden words': [
    [file('README.md', `see ../sha${'red'}/x\ncd /wo${'rk'}/main\n// TO${'DO'}: later\nfine /sys/work\n`)],
    ['README.md:1', 'README.md:2', 'README.md:3'],
  ],
  'rows name tests that exist': [
    [
      file(
        'docs/rows.md',
        '| row | state | test |\n| a | done | `test/gone.test.ts` |\n| b | done | |\n| c | later | |\n' +
          '| 31 | done | `test/here.test.ts` |\n| 32 | done | `test/here.test.ts` |\n',
      ),
      file('test/here.test.ts', "test('row 31: heads', () => {});\n"),
    ],
    ['docs/rows.md:2', 'docs/rows.md:3', 'docs/rows.md:6'],
  ],
  'the table of conformance names tests that exist': [
    [
      file(
        'docs/conformance.md',
        [
          '| 01h | Write | yes | `test/a.test.ts` › writes |',
          '| 02h | Read | yes | `test/a.test.ts` › reads |',
          '| 05h | Compare | yes | `test/gone.test.ts` › compares |',
          '| 08h | Verify | yes | somewhere |',
          '| 09h | Cancel | no | |',
          '| 0Ah | Nothing | no | nobody asks for it |',
        ].join('\n'),
      ),
      file('test/a.test.ts', "test('writes', () => {});\n"),
    ],
    ['docs/conformance.md:2', 'docs/conformance.md:3', 'docs/conformance.md:4', 'docs/conformance.md:5'],
  ],
  'the compiler checks what unbuilt sources need': [
    [
      file(
        'tsconfig.json',
        '{"compilerOptions": {"strict": true, "verbatimModuleSyntax": true, "noUnusedLocals": true, "rewriteRelativeImportExtensions": true}}',
      ),
    ],
    ['tsconfig.json'],
  ],
};

describe('each rule complains about what breaks it', () => {
  for (const [name, rule] of Object.entries(RULES)) {
    test(name, () => {
      const [files, places] = BROKEN[name]!;
      const complaints = rule(files);
      const found = complaints.map(({ path, line }) => (line > 0 ? `${path}:${line}` : path));
      assert.deepEqual(found, places, complaints.map(describeComplaint).join('\n'));
    });
  }
});

test('imports are found in every form, prose is not code', () => {
  const text =
    "import type {\n  a,\n} from './a.ts';\nexport * from 'b';\nimport 'c';\nconst d = await import('d');\ncreateRequire(import.meta.url)('e');\n// import 'f'\n";
  assert.deepEqual(
    importsOf(text).map(({ specifier, line }) => `${specifier}:${line}`),
    ['./a.ts:3', 'b:4', 'c:5', 'd:6', 'e:7'],
  );
  assert.equal(codeOnly("a('it\\'s'); // b\n/* c\n d */ e").replaceAll(' ', ''), 'a();\n\ne');
});
