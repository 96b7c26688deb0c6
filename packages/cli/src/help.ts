import type { Command, Option } from './command.ts';
import { COMMAND_GROUPS } from './command-table.ts';
import { takesValue, valueName } from './parse.ts';
import { formatSize } from './size.ts';

const WIDTH = 100;

/** `nvbraid --help` */
export function overview(): string {
  const lines = [
    'nvbraid: NVMe over Fabrics in user space, a target and a host.',
    '',
    'Usage: nvbraid COMMAND [OPTION…] [ARGUMENT…]',
  ];
  for (const { title, commands } of COMMAND_GROUPS) {
    lines.push('', `${title}:`);
    for (const command of commands) lines.push(`  ${command.name.padEnd(14)}${command.summary}`);
  }
  lines.push(
    '',
    'Try it:',
    '  nvbraid demo                          a target, a host, and verified traffic between them',
    '  nvbraid serve disk.img --size 1GiB    serve a disk image; Ctrl-C stops',
    '',
    'nvbraid COMMAND --help says more about a command, nvbraid --version tells the version.',
    'Environment: NVBRAID_SOCKET, NVBRAID_OUTPUT, NVBRAID_RUNTIME_DIR, NVBRAID_DEBUG=1 (stack traces), NO_COLOR.',
  );
  return lines.join('\n');
}

/** `nvbraid COMMAND --help` */
export function helpOf(command: Command): string {
  const lines = [`nvbraid ${command.name}: ${command.summary}`, '', `Usage: ${usageOf(command)}`];
  for (const paragraph of command.description) lines.push('', ...wrap(paragraph, WIDTH));
  const rows = Object.entries(command.options).map(([name, option]): [string, string] => [
    optionColumn(name, option),
    helpColumn(option),
  ]);
  rows.push(['-h, --help', 'Print this']);
  lines.push('', 'Options:');
  const column = Math.min(38, Math.max(...rows.map(([left]) => left.length)) + 4);
  for (const [left, right] of rows) lines.push(...row(left, right, column));
  if (command.operands !== undefined) {
    lines.push('', 'Arguments:', ...row(command.operands.value, command.operands.help, column));
  }
  if (command.examples.length > 0) {
    lines.push('', 'Examples:');
    for (const { line, help } of command.examples) lines.push(`  # ${help}`, `  ${line}`);
  }
  return lines.join('\n');
}

export function usageOf(command: Command): string {
  const { operands } = command;
  if (operands === undefined) return `nvbraid ${command.name} [OPTION…]`;
  const name = operands.max > 1 ? `${operands.value}…` : operands.value;
  return `nvbraid ${command.name} [OPTION…] ${operands.min > 0 ? name : `[${name}]`}`;
}

function optionColumn(name: string, option: Option): string {
  const short = option.short === undefined ? '    ' : `-${option.short}, `;
  return `${short}--${name}${takesValue(option) ? ` ${valueName(option)}` : ''}`;
}

function helpColumn(option: Option): string {
  const notes: string[] = [];
  if (option.type === 'list') notes.push('may be given several times');
  if ('default' in option && option.default !== undefined) {
    notes.push(`default: ${option.type === 'size' ? formatSize(option.default) : option.default}`);
  }
  if (option.env !== undefined) notes.push(`environment: ${option.env}`);
  return notes.length === 0 ? option.help : `${option.help} (${notes.join('; ')})`;
}

function row(left: string, right: string, column: number): string[] {
  const text = wrap(right, WIDTH - column);
  const head = left.length + 2 >= column ? [`  ${left}`] : [`  ${left.padEnd(column - 2)}${text.shift()}`];
  return [...head, ...text.map((line) => ' '.repeat(column) + line)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  lines.push(line);
  return lines;
}
