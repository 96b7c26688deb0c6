import type { Command, Option } from '../command.ts';
import { takesValue } from '../parse.ts';

/** `--name` and `-n` of an option, aliases included. */
export function spellings(name: string, option: Option): string[] {
  const long = [name, ...(option.aliases ?? [])].map((text) => `--${text}`);
  return option.short === undefined ? long : [`-${option.short}`, ...long];
}

/** What can stand for an option's value: words, files, or nothing that is known. */
export function valueKind(option: Option): 'none' | 'file' | readonly string[] {
  if (!takesValue(option)) return 'none';
  if (option.type === 'choice') return option.choices;
  return option.completes === 'file' ? 'file' : [];
}

export function operandKind(command: Command): 'file' | readonly string[] {
  const { operands } = command;
  if (operands === undefined) return [];
  if (operands.choices !== undefined) return operands.choices;
  return operands.completes === 'file' ? 'file' : [];
}
