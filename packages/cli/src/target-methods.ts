import type { Methods, Params } from '@nvbraid/manage';
import { type Applied, type Edit, editText, NvbraidError, parseConfig, type TargetConfig } from 'nvbraid';

/** What a process that serves answers besides `status`: its configuration, as `nvbraid target` reads and changes it. */
export function targetMethods(config: TargetConfig, options: ConfigMethodOptions): Methods {
  const applied = (result: Applied): Applied => {
    if (result.edits.length > 0) options.changed(result.edits.map(editText));
    return result;
  };
  return {
    'target.config': () => ({ text: config.text(), file: options.file }),
    'target.edit': async (params) => applied(await config.edit(editsOf(params))),
    'target.delete': async (params) => applied(await config.delete(textOf(params, 'path'))),
    'target.plan': (params) => {
      const { tree, warnings } = parseConfig(textOf(params, 'text'));
      return { edits: config.plan(tree), warnings };
    },
    'target.apply': async (params) => applied(await config.apply(textOf(params, 'text'))),
    'target.clear': async () => applied(await config.clear()),
  };
}

export interface ConfigMethodOptions {
  /** The file that the process was started with, or null. */
  readonly file: string | null;
  /** Told what was done. */
  changed(edits: readonly string[]): void;
}

function textOf(params: Params, name: string): string {
  const value = params[name];
  if (typeof value === 'string') return value;
  throw new NvbraidError('EINVAL', `${name} is a string`);
}

function editsOf(params: Params): Edit[] {
  const { edits } = params;
  if (!Array.isArray(edits)) throw new NvbraidError('EINVAL', 'edits is a list');
  return edits.map((edit: Params | null): Edit => {
    const op = edit?.op;
    if (op === 'create' || op === 'delete') return { op, path: textOf(edit!, 'path') };
    if (op !== 'set') throw new NvbraidError('EINVAL', 'op is create, delete or set');
    return { op, path: textOf(edit!, 'path'), attribute: textOf(edit!, 'attribute'), value: textOf(edit!, 'value') };
  });
}
