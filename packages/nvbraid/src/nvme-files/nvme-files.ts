import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';
import { DISCOVERY_NQN } from '@nvbraid/wire';
import type { PathOptions } from '../connect.ts';
import type { KnownSubsystem } from '../discovery/connect-all.ts';
import type { DiscoveryService } from '../discovery/service-address.ts';
import { parseConfigJson } from './config-json.ts';
import { parseDiscoveryConf } from './discovery-conf.ts';
import { parseFabricsConf } from './fabrics-conf.ts';
import type { FileEntry } from './fabrics-options.ts';
import { NVME_FILE_BYTES, NVME_FILE_COUNT, NVME_FILE_ENTRIES } from './limits.ts';
import { nvmeDirectory, readText } from './read-file.ts';

/** What nvme-cli's files say is to be connected: options of `connectAll`. */
export interface NvmeFiles {
  readonly discovery: readonly DiscoveryService[];
  readonly subsystems: readonly KnownSubsystem[];
  /** Files that were there. */
  readonly files: readonly string[];
  /** What was left out, each a sentence with file and line. */
  readonly notes: readonly string[];
}

/**
 * Reads discovery.conf, config.json, nvme-fabrics.conf and nvme-fabrics.conf.d/*.conf as nvme-cli does; never writes.
 * @param directory default `/etc/nvme`, or `$NVBRAID_NVME_DIR`
 * @throws NvbraidError EINVAL that names file and line, EACCES, EIO
 */
export function readNvmeFiles(directory = nvmeDirectory()): NvmeFiles {
  const collected = new Collected();
  const each = (name: string, read: (text: string, path: string) => void): void => {
    const path = join(directory, name);
    const text = readText(path, NVME_FILE_BYTES);
    if (text === null) return;
    collected.files.push(path);
    read(text, path);
  };
  each('discovery.conf', (text, path) => {
    for (const { where, entry } of parseDiscoveryConf(text, path)) collected.add(where, null, entry);
  });
  each('config.json', (text, path) => {
    for (const { where, nqn, entry } of parseConfigJson(text, path, (note) => collected.note(note))) {
      collected.add(where, nqn, entry);
    }
  });
  for (const name of ['nvme-fabrics.conf', ...dropIns(directory)]) {
    each(name, (text, path) => {
      for (const { where, nqn, entry } of parseFabricsConf(text, path)) collected.add(where, nqn, entry);
    });
  }
  return collected.result();
}

class Collected {
  readonly files: string[] = [];
  readonly #discovery: DiscoveryService[] = [];
  readonly #subsystems = new Map<string, PathOptions[]>();
  readonly #notes: string[] = [];
  #entries = 0;

  /** @param nqn null for a discovery controller */
  add(where: string, nqn: string | null, { options, unsupported }: FileEntry): void {
    if (++this.#entries > NVME_FILE_ENTRIES) {
      throw new NvbraidError('EINVAL', `${where}: there are more than ${NVME_FILE_ENTRIES} controllers`);
    }
    if (unsupported !== null) return this.note(`${where}: left out, ${unsupported}`);
    const { traddr } = options;
    if (traddr === undefined) throw new NvbraidError('EINVAL', `${where}: the address (traddr) is missing`);
    if (nqn === null || nqn === DISCOVERY_NQN) this.#discovery.push({ ...options, traddr });
    else {
      const { nqn: _same, ...path } = options;
      const paths = this.#subsystems.get(nqn) ?? [];
      paths.push({ ...path, traddr });
      this.#subsystems.set(nqn, paths);
    }
  }

  note(sentence: string): void {
    if (this.#notes.length < NVME_FILE_ENTRIES) this.#notes.push(sentence);
  }

  result(): NvmeFiles {
    const subsystems = [...this.#subsystems].map(([nqn, paths]) => ({ nqn, paths }));
    return { discovery: this.#discovery, subsystems, files: this.files, notes: this.#notes };
  }
}

function dropIns(directory: string): string[] {
  const place = 'nvme-fabrics.conf.d';
  let names: string[];
  try {
    names = readdirSync(join(directory, place)).filter((name) => name.endsWith('.conf'));
  } catch {
    return [];
  }
  if (names.length > NVME_FILE_COUNT) {
    throw new NvbraidError('EINVAL', `${join(directory, place)} has more than ${NVME_FILE_COUNT} files`);
  }
  return names.sort().map((name) => join(place, name));
}
