import { type ErrorCode, NvbraidError } from '@nvbraid/base';
import { difference } from './difference.ts';
import { type Edit, editText, type Facts, perform } from './edits.ts';
import type { ConfigNode } from './tree.ts';

/** What makes edits happen. */
export interface Backend {
  readonly facts: Facts;
  /**
   * Makes one edit happen, which the rules allow.
   * @param tree as it is before the edit
   * @throws NvbraidError when it cannot be done; then nothing has been done
   */
  apply(edit: Edit, tree: ConfigNode): Promise<void>;
  /**
   * Looks whether what has to be had from the system can be had, without disturbing anything.
   * @throws NvbraidError
   */
  check(from: ConfigNode, to: ConfigNode): Promise<void>;
  /** A transaction is over: what was kept so that it could be taken back may go. */
  settled(): Promise<void> | void;
}

/**
 * Makes edits happen one after the other, all of them or none. The rules are checked for all before anything happens;
 * when one of them fails in the middle, those before it are taken back.
 * @param tree is changed along
 * @throws NvbraidError of the edit that failed, with what could not be taken back, if anything
 */
export async function transact(tree: ConfigNode, edits: readonly Edit[], backend: Backend): Promise<void> {
  const before = tree.clone();
  const trial = tree.clone();
  for (const edit of edits) perform(trial, edit, backend.facts);
  await backend.check(tree, trial);
  try {
    await run(tree, edits, backend);
  } catch (error) {
    const left = await takeBack(tree, before, backend);
    throw failure(error, left);
  } finally {
    await backend.settled();
  }
}

async function run(tree: ConfigNode, edits: readonly Edit[], backend: Backend): Promise<void> {
  for (const edit of edits) {
    try {
      await backend.apply(edit, tree);
    } catch (error) {
      throw failedAt(edit, error);
    }
    // Facts may have changed while this was under way: a host has seen what is still to be set. Then it is too late.
    perform(tree, edit);
  }
}

/** Leads the tree back to what it was; answers what failed on the way. */
async function takeBack(tree: ConfigNode, before: ConfigNode, backend: Backend): Promise<string[]> {
  const left: string[] = [];
  for (const edit of difference(tree, before)) {
    try {
      await backend.apply(edit, tree);
      perform(tree, edit);
    } catch (error) {
      left.push(`${editText(edit)}: ${(error as Error).message}`);
    }
  }
  return left;
}

function failedAt(edit: Edit, error: unknown): NvbraidError {
  const { code, message } = describe(error);
  const text = message.includes(edit.path) ? message : `${edit.path}: ${message}`;
  return new NvbraidError(code, text, { cause: error, context: { edit: editText(edit), path: edit.path } });
}

function failure(error: unknown, left: readonly string[]): unknown {
  if (left.length === 0 || !(error instanceof NvbraidError)) return error;
  return new NvbraidError(
    'EIO',
    `${error.message}. What was done before that could not be taken back in full: ${left.join('; ')}`,
    { cause: error, context: { ...error.context, left: left.length } },
  );
}

function describe(error: unknown): { code: ErrorCode; message: string } {
  if (error instanceof NvbraidError) return error;
  return { code: 'EIO', message: error instanceof Error ? error.message : String(error) };
}
