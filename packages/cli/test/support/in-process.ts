import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { run } from '../../src/main.ts';
import { Terminal } from '../../src/terminal.ts';

export class Sink extends Writable {
  text = '';
  isTTY = false;
  columns = 80;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

export interface Result {
  code: number;
  out: string;
  err: string;
}

/** Runs a command line in this process. */
export async function nvbraid(argv: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  const out = new Sink();
  const err = new Sink();
  const code = await run(argv, new Terminal(out, err, env));
  return { code, out: out.text, err: err.text };
}

/** The same for one that must work: what it prints. */
export async function ok(...argv: readonly string[]): Promise<string> {
  const { code, out, err } = await nvbraid(argv);
  assert.equal(code, 0, err);
  return out;
}
