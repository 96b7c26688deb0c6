import { readFile } from 'node:fs/promises';
import { NvbraidError } from '@nvbraid/base';
import type { OpenOptions } from '../block-device.ts';
import { MAX_MARKS } from '../limits.ts';
import { type MarkedRanges, marksBuffer, UncorrectableMarks } from '../uncorrectable-marks.ts';
import type { FileDeviceSpec, PreparedFileDevice } from './file-spec.ts';
import { replaceFile } from './replace-file.ts';
import { statePath } from './state-path.ts';

/*
 * The file that keeps marks of uncorrectable blocks: JSON, in bytes, so that it does not depend on the block size that
 * the device is served with.
 */

const FORMAT = 'nvbraid uncorrectable 1';

/**
 * What the threads share, with the marks that were saved; null when there can be none.
 * @param made the file is new: marks that lie there are those of another one that had its name
 * @throws NvbraidError EIO, EINVAL
 */
export async function prepareMarks(
  spec: FileDeviceSpec,
  blockDevice: boolean,
  made: boolean,
): Promise<SharedArrayBuffer | null> {
  const path = statePath(spec.path, blockDevice, 'uncorrectable', spec.stateDirectory);
  if (path === null) return null;
  const saved = await loadMarks(path);
  if (made && saved.length > 0) await saveMarks(path, []);
  const ranges = made ? [] : saved;
  if (spec.shared) {
    if (ranges.length === 0) return null;
    throw new NvbraidError(
      'EINVAL',
      `${spec.path} has blocks that are marked uncorrectable, which processes that share it would not keep from each ` +
        `other: serve it without \`shared\`, or remove ${path} to read them all`,
      { context: { path } },
    );
  }
  const buffer = marksBuffer();
  if (new UncorrectableMarks(buffer, spec.blockSize).load(ranges)) return buffer;
  throw new NvbraidError('EIO', `${path} names more than ${MAX_MARKS} ranges of uncorrectable blocks`, {
    context: { path },
  });
}

/** The marks as a thread sees them. */
export function openMarks(prepared: PreparedFileDevice, options: OpenOptions): UncorrectableMarks | null {
  const path = statePath(prepared.path, prepared.blockDevice, 'uncorrectable', prepared.stateDirectory);
  if (prepared.marks === null || path === null) return null;
  const save = async (ranges: MarkedRanges): Promise<void> => {
    try {
      await saveMarks(path, ranges);
    } catch (error) {
      options.log?.(`blocks of ${prepared.path} stay as they were marked: ${(error as Error).message}`);
      throw error;
    }
  };
  return new UncorrectableMarks(prepared.marks, prepared.blockSize, save, options.background);
}

/** @throws NvbraidError EACCES, ENOENT, EIO */
export async function saveMarks(path: string, ranges: MarkedRanges): Promise<void> {
  const lengths = ranges.map(([start, end]) => [start, end - start]);
  await replaceFile(path, `${JSON.stringify({ format: FORMAT, ranges: lengths })}\n`, { makeDirectory: true });
}

/**
 * No marks when there is no file.
 * @throws NvbraidError EIO when it cannot be read or holds something else: its blocks must not become readable by that
 */
export async function loadMarks(path: string): Promise<MarkedRanges> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return [];
    const message = `cannot read ${path}, which names uncorrectable blocks: ${(cause as Error).message}`;
    throw new NvbraidError('EIO', message, { cause, context: { path } });
  }
  const ranges = parse(text);
  if (ranges !== null) return ranges;
  throw new NvbraidError(
    'EIO',
    `${path} is damaged: it names the blocks that are marked uncorrectable; restore it, or remove it to read them all`,
    { context: { path } },
  );
}

function parse(text: string): MarkedRanges | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { format, ranges } = (value ?? {}) as { format?: unknown; ranges?: unknown };
  if (format !== FORMAT || !Array.isArray(ranges)) return null;
  const parsed: [number, number][] = [];
  let last = -1;
  for (const range of ranges as unknown[]) {
    if (!Array.isArray(range) || range.length !== 2) return null;
    const [start, length] = range as [unknown, unknown];
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) return null;
    const end = (start as number) + (length as number);
    if ((start as number) <= last || (length as number) <= 0 || !Number.isSafeInteger(end)) return null;
    parsed.push([start as number, end]);
    last = end;
  }
  return parsed;
}
