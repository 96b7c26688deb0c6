/*
 * `npm run build [-- FOLDER]`: compiles every package and packs it for publishing into FOLDER (default: dist/). In the
 * clone the packages point to their TypeScript sources; the packed ones carry JavaScript and declarations instead.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { packageDirs } from './rules.ts';

const root = join(import.meta.dirname, '..');

/** Packs all packages and answers the tarballs' paths. */
export function pack(folder: string): string[] {
  const stage = mkdtempSync(join(tmpdir(), 'nvbraid-pack-'));
  try {
    compile(join(stage, 'compiled'));
    const dirs = packageDirs(root).map((dir) => stagePackage(dir, stage));
    mkdirSync(folder, { recursive: true });
    const output = npm(['pack', '--silent', '--pack-destination', folder, ...dirs], stage);
    return output
      .trim()
      .split('\n')
      .map((name) => join(folder, basename(name)));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** One program for all packages, so that the types of one are checked against the sources of the others. */
function compile(outDir: string): void {
  mkdirSync(outDir);
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      ...{ noEmit: false, noEmitOnError: true, declaration: true, rootDir: join(root, 'packages'), outDir },
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: [join(root, 'packages/*/src')],
  };
  const file = join(outDir, 'tsconfig.json');
  writeFileSync(file, JSON.stringify(config));
  const tsc = join(root, 'node_modules/.bin/tsc');
  const result = spawnSync(tsc, ['-p', file], { encoding: 'utf8', cwd: root });
  if (result.status !== 0) throw new Error(`the packages do not compile:\n${result.stdout}${result.stderr}`);
}

/** The package as it is published, in a folder of its own; answers the folder. */
function stagePackage(dir: string, stage: string): string {
  const to = join(stage, basename(dir));
  cpSync(join(stage, 'compiled', basename(dir), 'src'), join(to, 'dist'), { recursive: true });
  cpSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  if (existsSync(join(dir, 'README.md'))) cpSync(join(dir, 'README.md'), join(to, 'README.md'));
  for (const file of globSync('bin/*', { cwd: dir })) {
    mkdirSync(join(to, 'bin'), { recursive: true });
    writeFileSync(join(to, file), compiledPaths(readFileSync(join(dir, file), 'utf8')));
    chmodSync(join(to, file), 0o755);
  }
  const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  delete manifest.devDependencies;
  manifest.exports = compiledExports(manifest.exports);
  manifest.files = manifest.bin === undefined ? ['dist'] : ['bin', 'dist'];
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return to;
}

/** Programs start the sources in the clone and what was compiled from them in a package. */
const compiledPaths = (text: string): string => text.replaceAll(/\.\.\/src\/([\w/-]+)\.ts\b/g, '../dist/$1.js');

function compiledExports(exports: Record<string, string>): Record<string, { types: string; default: string }> {
  return Object.fromEntries(
    Object.entries(exports).map(([name, source]) => {
      const stem = source.replace(/^\.\/src\/(.*)\.ts$/, './dist/$1');
      return [name, { types: `${stem}.d.ts`, default: `${stem}.js` }];
    }),
  );
}

/** Runs npm and answers its output. */
export function npm(args: readonly string[], cwd: string): string {
  const path = `${join(root, 'node_modules/.bin')}:${process.env.PATH}`;
  const result = spawnSync('npm', args, { encoding: 'utf8', cwd, env: { ...process.env, PATH: path } });
  if (result.status !== 0) {
    throw new Error(`npm ${args[0]} failed: ${result.error?.message ?? result.stderr}`);
  }
  return result.stdout;
}

if (import.meta.main) {
  for (const tarball of pack(resolve(process.argv[2] ?? join(root, 'dist')))) console.log(tarball);
}
