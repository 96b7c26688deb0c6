import { COMMANDS } from '../command-table.ts';
import { operandKind, valueKind } from './words.ts';

/** Completion for fish. */
export function fishCompletion(): string {
  const lines = [
    '# fish completion for nvbraid: save it as ~/.config/fish/completions/nvbraid.fish',
    'complete -c nvbraid -f',
  ];
  for (const { name, summary } of COMMANDS) {
    lines.push(`complete -c nvbraid -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`);
  }
  for (const command of COMMANDS) {
    const seen = `complete -c nvbraid -n ${quote(`__fish_seen_subcommand_from ${command.name}`)}`;
    for (const [name, option] of Object.entries(command.options)) {
      const kind = valueKind(option);
      const short = option.short === undefined ? '' : ` -s ${option.short}`;
      const value =
        kind === 'none'
          ? ''
          : kind === 'file'
            ? ' -r -F'
            : kind.length === 0
              ? ' -x'
              : ` -x -a ${quote(kind.join(' '))}`;
      lines.push(`${seen}${short} -l ${name}${value} -d ${quote(option.help)}`);
    }
    const operands = operandKind(command);
    if (operands === 'file') lines.push(`${seen} -F`);
    else if (operands.length > 0) lines.push(`${seen} -a ${quote(operands.join(' '))}`);
  }
  return lines.join('\n');
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}
