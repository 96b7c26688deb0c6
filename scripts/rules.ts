/*
 * The house rules that no compiler and no linter knows, as functions from the files of the repository to complaints.
 * test/rules.test.ts runs them; each complaint names the place and says what to do.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, join } from 'node:path';

export interface SourceFile {
  /** Relative to the root of the repository, with slashes. */
  path: string;
  text: string;
}

export interface Complaint {
  path: string;
  /** 1-based; 0: the file as a whole. */
  line: number;
  what: string;
}

/** What each package may import: the arrows of ARCHITECTURE.md, indirect ones included. */
export const ARROWS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wire: ['base'],
  multipath: ['base'],
  blockdev: ['base'],
  target: ['base', 'wire', 'blockdev'],
  host: ['base', 'wire', 'multipath'],
  transport: ['base'],
  nbd: ['base', 'wire', 'blockdev'],
  nvbraid: ['base', 'wire', 'multipath', 'blockdev', 'target', 'host', 'transport', 'nbd'],
  manage: ['base', 'wire', 'blockdev', 'target', 'host', 'transport', 'nbd', 'nvbraid'],
  cli: ['base', 'wire', 'blockdev', 'target', 'host', 'transport', 'nbd', 'nvbraid', 'manage'],
};
/** Packages without I/O, without a clock and without chance. */
const CORES = ['base', 'wire', 'multipath', 'target', 'host', 'nbd'];
const NODE_PACKAGES = ['transport', 'blockdev', 'nvbraid', 'manage', 'cli'];
const KOFFI_PACKAGES = ['transport', 'blockdev'];
const MAX_LINES = 600;
/** Stories and vectors may go on for longer. */
const MAX_TEST_LINES = 900;

const SKIPPED = new Set(['node_modules', 'dist', 'data', '.git', 'out']);

/** Every text file that belongs to the repository. */
export function readTree(root: string): SourceFile[] {
  const files: SourceFile[] = [];
  const visit = (path: string): void => {
    for (const name of readdirSync(join(root, path)).sort()) {
      if (SKIPPED.has(name)) continue;
      const inner = path === '' ? name : `${path}/${name}`;
      if (statSync(join(root, inner)).isDirectory()) visit(inner);
      else if (/\.(ts|js|cjs|mjs|json|md|sh|c|h|yml)$|^[^.]+$|^\.[a-z]+$/.test(name) || inner.startsWith('.ci/')) {
        files.push({ path: inner, text: readFileSync(join(root, inner), 'utf8') });
      }
    }
  };
  visit('');
  return files;
}

interface Import {
  specifier: string;
  line: number;
}

/** Module specifiers of static, dynamic and type imports. The formatter guarantees their shape. */
export function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const clause = String.raw`(?:type )?(?:\{[^}]*\}|\* as \w+|\*|\w+(?:, \{[^}]*\})?)`;
  const pattern = new RegExp(
    String.raw`^(?:import|export) ${clause}\s+from '([^']+)'|^import '([^']+)'|\b(?:import|require|createRequire\([^)]*\))\('([^']+)'\)`,
    'gm',
  );
  for (const match of text.matchAll(pattern)) {
    const specifier = match[1] ?? match[2] ?? match[3]!;
    const at = match.index + match[0].lastIndexOf(specifier);
    found.push({ specifier, line: lineAt(text, at) });
  }
  return found;
}

function lineAt(text: string, index: number): number {
  let line = 1;
  for (let i = text.indexOf('\n'); i >= 0 && i < index; i = text.indexOf('\n', i + 1)) line++;
  return line;
}

interface Place {
  package: string;
  /** src, test, bin … */
  area: string;
}

function placeOf(path: string): Place | null {
  const [packages, name, area] = path.split('/');
  return packages === 'packages' && name !== undefined && area !== undefined ? { package: name, area } : null;
}

const isCode = (file: SourceFile): boolean => /\.(ts|js|cjs|mjs)$/.test(file.path);

/** Code of the packages that is published. */
const sources = (files: readonly SourceFile[]): { file: SourceFile; place: Place }[] =>
  files.flatMap((file) => {
    const place = placeOf(file.path);
    return place !== null && isCode(file) && place.area !== 'test' ? [{ file, place }] : [];
  });

const packageOf = (specifier: string): string | null =>
  specifier === 'nvbraid' ? 'nvbraid' : (/^@nvbraid\/([^/]+)$/.exec(specifier)?.[1] ?? null);

/** Comments and strings blanked, line structure kept, so that words in prose are not taken for code. */
export function codeOnly(text: string): string {
  const pattern = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g;
  return text.replace(pattern, (piece) => piece.replace(/[^\n]/g, ' '));
}

function matches(file: SourceFile, text: string, pattern: RegExp, what: (word: string) => string): Complaint[] {
  return [...text.matchAll(pattern)].map((match) => ({
    path: file.path,
    line: lineAt(text, match.index),
    what: what(match[0]),
  }));
}

export type Rule = (files: readonly SourceFile[]) => Complaint[];

const arrows: Rule = (files) =>
  sources(files).flatMap(({ file, place }) => {
    const allowed = ARROWS[place.package];
    if (allowed === undefined) {
      return [
        { path: file.path, line: 0, what: `package ${place.package} has no place in ARROWS of scripts/rules.ts` },
      ];
    }
    return importsOf(file.text).flatMap(({ specifier, line }) => {
      const other = packageOf(specifier);
      if (specifier.startsWith('@nvbraid/') && other === null) {
        return [{ path: file.path, line, what: `import '${specifier}': take it from the package's index instead` }];
      }
      if (other === null || allowed.includes(other)) return [];
      const what = `${place.package} must not import ${other}: the arrows of ARCHITECTURE.md allow ${allowed.join(', ') || 'nothing'}`;
      return [{ path: file.path, line, what }];
    });
  });

const relativeImports: Rule = (files) =>
  files
    .filter((file) => isCode(file) && !file.path.endsWith('.cjs'))
    .flatMap((file) =>
      importsOf(file.text).flatMap(({ specifier, line }) => {
        if (!specifier.startsWith('.')) return [];
        const out: Complaint[] = [];
        if (file.path.endsWith('.ts') && !specifier.endsWith('.ts')) {
          out.push({ path: file.path, line, what: `import '${specifier}': relative imports end with .ts` });
        }
        const place = placeOf(file.path);
        if (place !== null && place.area !== 'test') {
          const depth = file.path.split('/').length - 3;
          const up = specifier.split('/').filter((part) => part === '..').length;
          if (up > depth) {
            out.push({ path: file.path, line, what: `import '${specifier}' leaves the package: import it by name` });
          }
        }
        return out;
      }),
    );

const nodeModules: Rule = (files) =>
  sources(files).flatMap(({ file, place }) =>
    importsOf(file.text).flatMap(({ specifier, line }) => {
      if (builtinModules.includes(specifier)) {
        return [{ path: file.path, line, what: `import '${specifier}': write node:${specifier}` }];
      }
      if (!specifier.startsWith('node:') || NODE_PACKAGES.includes(place.package)) return [];
      return [{ path: file.path, line, what: `${specifier}: ${place.package} has no I/O; have it handed in` }];
    }),
  );

const thirdParty: Rule = (files) =>
  sources(files).flatMap(({ file, place }) =>
    importsOf(file.text).flatMap(({ specifier, line }) => {
      if (/^(\.|node:)/.test(specifier) || packageOf(specifier) !== null) return [];
      if (builtinModules.includes(specifier) || specifier.startsWith('@nvbraid/')) return [];
      if (specifier === 'koffi' && KOFFI_PACKAGES.includes(place.package)) return [];
      const what =
        specifier === 'koffi'
          ? `koffi is only for ${KOFFI_PACKAGES.join(' and ')}`
          : `${specifier} is a new dependency: there are none but koffi`;
      return [{ path: file.path, line, what }];
    }),
  );

const AMBIENT =
  /(?<![.\w])(?:Date|Math\.random|set(?:Timeout|Interval|Immediate)|queueMicrotask|performance|process|console|Buffer)\b(?!\s*[:?])/g;

const coresArePure: Rule = (files) =>
  sources(files)
    .filter(({ place }) => CORES.includes(place.package))
    .flatMap(({ file, place }) =>
      matches(
        file,
        codeOnly(file.text),
        AMBIENT,
        (word) => `${word}: ${place.package} is a core; have time, chance and output handed in`,
      ),
    );

const dependencies: Rule = (files) =>
  sources(files).flatMap(({ file, place }) => {
    const manifest = files.find((other) => other.path === `packages/${place.package}/package.json`);
    const declared = manifest === undefined ? {} : (JSON.parse(manifest.text).dependencies ?? {});
    return importsOf(file.text).flatMap(({ specifier, line }) => {
      if (/^(\.|node:)/.test(specifier) || specifier in declared || builtinModules.includes(specifier)) return [];
      return [{ path: file.path, line, what: `${specifier} is not in the dependencies of packages/${place.package}` }];
    });
  });

const EXACT = /^\d+\.\d+\.\d+$/;
const SECTIONS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'] as const;

type Manifest = {
  name: string;
  version: string;
  license?: string;
  engines?: { node?: string };
} & Partial<Record<(typeof SECTIONS)[number], Record<string, string>>>;

const manifestsOf = (files: readonly SourceFile[]): { file: SourceFile; manifest: Manifest }[] =>
  files
    .filter((file) => file.path === 'package.json' || /^packages\/[^/]+\/package\.json$/.test(file.path))
    .map((file) => ({ file, manifest: JSON.parse(file.text) as Manifest }));

const lineOf = (file: SourceFile, text: string): number => lineAt(file.text, file.text.indexOf(text));

const exactVersions: Rule = (files) =>
  manifestsOf(files).flatMap(({ file, manifest }) =>
    SECTIONS.flatMap((section) =>
      Object.entries(manifest[section] ?? {})
        .filter(([, version]) => !EXACT.test(version))
        .map(([name, version]) => ({
          path: file.path,
          line: lineOf(file, `"${name}":`),
          what: `${name} ${version}: give one exact version`,
        })),
    ),
  );

const oneVersion: Rule = (files) => {
  const manifests = manifestsOf(files);
  const version = manifests.find(({ file }) => file.path === 'package.json')?.manifest.version;
  const names = new Set(manifests.map(({ manifest }) => manifest.name));
  return manifests.flatMap(({ file, manifest }) => {
    const out: Complaint[] = [];
    if (manifest.version !== version) {
      const what = `version ${manifest.version}: all packages have the root's ${version}`;
      out.push({ path: file.path, line: lineOf(file, '"version"'), what });
    }
    for (const [name, wanted] of Object.entries(manifest.dependencies ?? {})) {
      if (names.has(name) && wanted !== version) {
        out.push({ path: file.path, line: lineOf(file, `"${name}":`), what: `${name} ${wanted}: must be ${version}` });
      }
    }
    if (manifest.license !== 'MIT') out.push({ path: file.path, line: 0, what: '"license" must be "MIT"' });
    if (manifest.engines?.node !== '>=22.18') {
      out.push({ path: file.path, line: 0, what: '"engines": {"node": ">=22.18"} is missing' });
    }
    return out;
  });
};

const lockInStep: Rule = (files) => {
  const lock = files.find((file) => file.path === 'package-lock.json');
  if (lock === undefined) return [{ path: 'package-lock.json', line: 0, what: 'is missing: run npm install' }];
  const packages = JSON.parse(lock.text).packages as Record<string, Manifest>;
  // npm leaves optional packages out that it could not find, and then `npm ci` refuses the lockfile.
  const incomplete = Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => packages[`node_modules/${name}`] === undefined)
      .map((name) => ({
        path: lock.path,
        line: lineOf(lock, `"${name}"`),
        what: `${path} needs ${name}: npm ci fails`,
      })),
  );
  const differing = manifestsOf(files).flatMap(({ file, manifest }) => {
    const locked = packages[file.path.replace(/\/?package\.json$/, '')];
    const pick = (from: Manifest | undefined): string =>
      JSON.stringify([from?.version, ...SECTIONS.map((key) => Object.entries(from?.[key] ?? {}).sort())]);
    return pick(locked) === pick(manifest)
      ? []
      : [{ path: file.path, line: 0, what: 'package-lock.json says something else: run npm install' }];
  });
  return [...incomplete, ...differing];
};

const DOCUMENTS = [
  ...['README.md', 'ARCHITECTURE.md', 'STYLE.md', 'CHANGELOG.md', 'LICENSE', 'docs/rows.md', 'docs/conformance.md'],
];

const documents: Rule = (files) => {
  const paths = new Set(files.map((file) => file.path));
  const out: Complaint[] = [];
  for (const name of Object.keys(ARROWS)) {
    if (!paths.has(`packages/${name}/package.json`)) continue;
    const readme = files.find((file) => file.path === `packages/${name}/README.md`);
    if (readme === undefined) {
      out.push({
        path: `packages/${name}/README.md`,
        line: 0,
        what: 'is missing: purpose, main types, what it must not know',
      });
    }
  }
  for (const name of DOCUMENTS) {
    if (!paths.has(name)) out.push({ path: name, line: 0, what: 'is missing' });
  }
  return out;
};

const fileShape: Rule = (files) =>
  files
    .filter((file) => isCode(file) || file.path.endsWith('.sh'))
    .flatMap((file) => {
      const out: Complaint[] = [];
      const lines = file.text.split('\n').length - 1;
      if (lines >= (/(^|\/)test\//.test(file.path) ? MAX_TEST_LINES : MAX_LINES)) {
        out.push({ path: file.path, line: lines, what: `${lines} lines: cut it into files about one thing each` });
      }
      for (const part of file.path.split('/')) {
        if (!/^\.?[a-z0-9]+(-[a-z0-9]+)*(\.(test|bench))?(\.[a-z]+)?$/.test(part)) {
          out.push({ path: file.path, line: 0, what: `'${part}': names are kebab-case` });
        }
      }
      return out;
    });

/** Pieces are joined here so that this file does not complain about itself. */
const FORBIDDEN: readonly [RegExp, string][] = [
  [new RegExp(`\\.\\./sha${'red'}\\b`, 'g'), 'the repository stands alone'],
  [new RegExp(`(?<![\\w.])/(?:wo${'rk'}|ho${'me'}|Us${'ers'})/[a-z]`, 'g'), 'a path of one machine'],
  [
    new RegExp(`regis${'try'}\\.(?:npmjs|yarnpkg)|npm${'mirror'}|deb\\.debi${'an'}\\.org`, 'g'),
    'a host that is configured on the machine',
  ],
  [new RegExp(`\\b(?:TO${'DO'}|FIX${'ME'}|XX${'X'})\\b`, 'g'), 'finish it or write an issue'],
];

const words: Rule = (files) =>
  files.flatMap((file) =>
    FORBIDDEN.flatMap(([pattern, why]) => matches(file, file.text, pattern, (word) => `'${word}': ${why}`)),
  );

const ROW_TABLES = ['docs/rows.md', 'docs/mptcp-rows.md'];

const rows: Rule = (files) =>
  files.filter((file) => ROW_TABLES.includes(file.path)).flatMap((table) => rowsOf(table, files));

/** A table names only test files that exist, and every row that is done names one; one with a number a test with its name. */
function rowsOf(table: SourceFile, files: readonly SourceFile[]): Complaint[] {
  const texts = new Map(files.map((file) => [file.path, file.text]));
  return table.text.split('\n').flatMap((text, i) => {
    const cells = text.split('|').map((cell) => cell.trim());
    if (cells.length < 5 || !/^(done|later)$/.test(cells.at(-3)!)) return [];
    const tests = [...cells.at(-2)!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
    const complaints = tests
      .filter((test) => !texts.has(test))
      .map((test) => ({ path: table.path, line: i + 1, what: `there is no ${test}` }));
    if (cells.at(-3) === 'done' && tests.length === 0) {
      complaints.push({ path: table.path, line: i + 1, what: 'a row that is done names its test' });
    }
    const number = cells[1]!;
    if (/^\d+$/.test(number) && !tests.some((test) => texts.get(test)?.includes(`row ${number}: `))) {
      complaints.push({ path: table.path, line: i + 1, what: `no test there is named "row ${number}: …"` });
    }
    return complaints;
  });
}

/** docs/conformance.md: what is supported names a test by its file and its title, and what is not says why. */
const conformance: Rule = (files) => {
  const table = files.find((file) => file.path === 'docs/conformance.md');
  if (table === undefined) return [];
  const texts = new Map(files.map((file) => [file.path, file.text]));
  return table.text.split('\n').flatMap((text, i) => {
    const cells = text.split('|').map((cell) => cell.trim());
    const state = cells.at(-3);
    if (cells.length < 6 || (state !== 'yes' && state !== 'no')) return [];
    const complain = (what: string): Complaint => ({ path: table.path, line: i + 1, what });
    if (state === 'no') return cells.at(-2) === '' ? [complain('what is not supported has a reason')] : [];
    const tests = cells
      .at(-2)!
      .split(';')
      .map((test) => /^`([^`]+)` › (.+)$/.exec(test.trim()));
    return tests.flatMap((test) => {
      if (test === null) return [complain('what is supported names its test: `file` › title')];
      const found = texts.get(test[1]!);
      if (found === undefined) return [complain(`there is no ${test[1]}`)];
      return found.includes(test[2]!) ? [] : [complain(`${test[1]} has no test "${test[2]}"`)];
    });
  });
};

/** The compiler's part: options without which the sources could not run unbuilt. */
const compiler: Rule = (files) => {
  const config = files.find((file) => file.path === 'tsconfig.json');
  if (config === undefined) return [];
  const options = JSON.parse(config.text).compilerOptions as Record<string, unknown>;
  return ['strict', 'erasableSyntaxOnly', 'verbatimModuleSyntax', 'noUnusedLocals', 'rewriteRelativeImportExtensions']
    .filter((option) => options[option] !== true)
    .map((option) => ({ path: config.path, line: 0, what: `"${option}" must be true` }));
};

export const RULES: Readonly<Record<string, Rule>> = {
  'packages import along the arrows of ARCHITECTURE.md': arrows,
  'relative imports end with .ts and stay in their package': relativeImports,
  'node: modules only where there is I/O': nodeModules,
  'no dependency but koffi, and that only in transport and blockdev': thirdParty,
  'cores take time, chance and output from outside': coresArePure,
  'what is imported is declared in package.json': dependencies,
  'dependencies have exact versions': exactVersions,
  'one version, licence and engine everywhere': oneVersion,
  'the lockfile is in step': lockInStep,
  'every package and the repository have their documents': documents,
  'files are short and named in kebab-case': fileShape,
  'no forbidden words': words,
  'rows name tests that exist': rows,
  'the table of conformance names tests that exist': conformance,
  'the compiler checks what unbuilt sources need': compiler,
};

export function describeComplaint(complaint: Complaint): string {
  return `${complaint.path}${complaint.line > 0 ? `:${complaint.line}` : ''}: ${complaint.what}`;
}

/** Directories of the packages, in the order of the arrows. */
export function packageDirs(root: string): string[] {
  return Object.keys(ARROWS)
    .map((name) => join(root, 'packages', name))
    .filter((dir) => existsSync(join(dir, 'package.json')) && basename(dir) !== '');
}
