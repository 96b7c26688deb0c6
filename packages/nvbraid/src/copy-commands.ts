import type { IdentifyNamespace } from '@nvbraid/wire';

/** A range of logical blocks. */
export interface BlockRange {
  readonly slba: number;
  readonly blocks: number;
}

/** One Copy command. */
export interface CopyCommand {
  readonly ranges: BlockRange[];
  readonly sdlba: number;
}

/** Blocks of a range at most: NLB has 16 bits, 0's based. */
const RANGE_BLOCKS_MAX = 65536;

/** Cuts a copy into commands that keep to the limits of the namespace. */
export function copyCommands(
  ranges: readonly BlockRange[],
  sdlba: number,
  limits: Pick<IdentifyNamespace, 'mssrl' | 'mcl' | 'msrc'>,
): CopyCommand[] {
  const most = Math.min(limits.mssrl, limits.mcl, RANGE_BLOCKS_MAX);
  const commands: CopyCommand[] = [];
  let command: CopyCommand | null = null;
  let blocksOfCommand = 0;
  let to = sdlba;
  for (const range of ranges) {
    for (let done = 0; done < range.blocks; ) {
      const full = command === null || command.ranges.length > limits.msrc || blocksOfCommand === limits.mcl;
      if (full) {
        command = { ranges: [], sdlba: to };
        commands.push(command);
        blocksOfCommand = 0;
      }
      const blocks = Math.min(most, range.blocks - done, limits.mcl - blocksOfCommand);
      command!.ranges.push({ slba: range.slba + done, blocks });
      done += blocks;
      blocksOfCommand += blocks;
      to += blocks;
    }
  }
  return commands;
}
