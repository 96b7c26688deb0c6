import { readFile, stat } from 'node:fs/promises';
import { NvbraidError } from '@nvbraid/base';
import { replaceFile } from '@nvbraid/blockdev';
import type { Target } from '../target.ts';
import { adopt } from './adopt.ts';
import { difference } from './difference.ts';
import { deleteAll, type Edit, linkedBy } from './edits.ts';
import { MAX_CONFIG_BYTES } from './limits.ts';
import { formatConfig, ignoredValues, jsonOf, parseConfig, treeOf } from './nvmetcli-json.ts';
import { type BackendOptions, TargetBackend } from './target-backend.ts';
import { transact } from './transaction.ts';
import { ConfigNode, emptyTree, findObject, nodePath } from './tree.ts';

export interface Applied {
  /** What was done, in this order. */
  readonly edits: readonly Edit[];
  /** What is kept but has no effect, a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The configuration of a running target as a tree like nvmet's in configfs. Changes follow each other, and each is made
 * in full or not at all. Once it is used, the target is to be configured by it alone.
 */
export class TargetConfig {
  readonly #backend: TargetBackend;
  #tree: ConfigNode;
  #last: Promise<unknown> = Promise.resolve();

  constructor(target: Target, options: BackendOptions = {}) {
    this.#backend = new TargetBackend(target, options);
    this.#tree = adopt(target, this.#backend.devices, options.start);
  }

  /** The tree as it is; to be read only. */
  get tree(): ConfigNode {
    return this.#tree;
  }

  /** As JSON that `nvmetcli restore` takes. */
  toJSON(): object {
    return jsonOf(this.#tree);
  }

  /** The text of a file as `nvmetcli save` writes it. */
  text(): string {
    return formatConfig(this.#tree);
  }

  /**
   * Makes some edits, all or none.
   * @throws NvbraidError of the edit that is refused or fails
   */
  edit(edits: readonly Edit[]): Promise<Applied> {
    return this.#inTurn(async () => {
      await transact(this.#tree, edits, this.#backend);
      return { edits, warnings: ignoredValues(this.#tree, edits) };
    });
  }

  /** Deletes an object with all that is in it; refused while something links to it. @throws NvbraidError */
  delete(path: string): Promise<Applied> {
    return this.#inTurn(async () => {
      const edits = this.#deletion(path);
      await transact(this.#tree, edits, this.#backend);
      return { edits, warnings: [] };
    });
  }

  #deletion(path: string): Edit[] {
    let node: ConfigNode;
    try {
      node = findObject(this.#tree, path);
    } catch (error) {
      // A link is no object; what does not exist is refused by the rules.
      if (error instanceof NvbraidError && error.code !== 'EINVAL' && error.code !== 'ENOENT') throw error;
      return [{ op: 'delete', path }];
    }
    const by = linkedBy(this.#tree, node);
    // The rules say why not.
    return by !== null || node.kind.name === 'root' ? [{ op: 'delete', path }] : deleteAll(node, nodePath(node));
  }

  /** The edits that would lead to a tree. @throws NvbraidError when the tree breaks a rule */
  plan(to: ConfigNode): Edit[] {
    return difference(this.#tree, to, this.#backend.facts);
  }

  /**
   * Brings the target to what a configuration says; what does not differ is not touched.
   * @param config as nvmetcli's file, text or parsed
   * @throws NvbraidError; the target is as it was before
   */
  apply(config: string | object | ConfigNode): Promise<Applied> {
    return this.#inTurn(async () => {
      const { tree, warnings } =
        config instanceof ConfigNode ? { tree: config.clone(), warnings: ignoredValues(config) } : parsed(config);
      const edits = this.plan(tree);
      await transact(this.#tree, edits, this.#backend);
      this.#tree = tree; // with the order and the unknown keys of the file
      return { edits, warnings };
    });
  }

  /** Everything goes. @throws NvbraidError */
  clear(): Promise<Applied> {
    return this.apply(emptyTree());
  }

  /** Writes the file as a whole, mode 0600. @throws NvbraidError EACCES, ENOENT, EIO */
  save(path: string): Promise<void> {
    return this.#inTurn(() => replaceFile(path, this.text(), { mode: 0o600, makeDirectory: true }));
  }

  /** Applies a file. @throws NvbraidError ENOENT, EACCES, EINVAL …; the target is as it was before */
  async restore(path: string): Promise<Applied> {
    return this.apply(await readConfig(path));
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }
}

function parsed(config: string | object) {
  return typeof config === 'string' ? parseConfig(config) : treeOf(config);
}

/** The text of a configuration file. @throws NvbraidError ENOENT, EACCES, EINVAL, EIO that names it */
export async function readConfig(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_CONFIG_BYTES) {
      throw new NvbraidError('EINVAL', `${path} has ${size} bytes: a configuration has at most ${MAX_CONFIG_BYTES}`);
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof NvbraidError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const options = { cause: error, context: { path } };
    if (code === 'ENOENT') throw new NvbraidError('ENOENT', `the configuration ${path} does not exist`, options);
    if (code === 'EACCES') throw new NvbraidError('EACCES', `no permission to read the configuration ${path}`, options);
    throw new NvbraidError('EIO', `cannot read the configuration ${path}: ${message}`, options);
  }
}

const configs = new WeakMap<Target, TargetConfig>();

/** The configuration of a target, which is what calls have made of it so far. */
export function configOf(target: Target, options: BackendOptions = {}): TargetConfig {
  let config = configs.get(target);
  if (config === undefined) configs.set(target, (config = new TargetConfig(target, options)));
  return config;
}

/** Brings a target to what nvmetcli's configuration says: `configOf(target).apply(config)`. */
export function applyConfig(target: Target, config: string | object): Promise<Applied> {
  return configOf(target).apply(config);
}
