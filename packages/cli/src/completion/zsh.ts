import type { Option } from '../command.ts';
import { COMMANDS } from '../command-table.ts';
import { valueName } from '../parse.ts';
import { operandKind, spellings, valueKind } from './words.ts';

/** Completion for zsh: a file `_nvbraid` on the fpath, or sourced after compinit. */
export function zshCompletion(): string {
  const commands = COMMANDS.map((command) => `    '${quoted(command.name)}:${quoted(command.summary)}'`);
  const cases = COMMANDS.map((command) => {
    const specs = Object.entries(command.options).map(([name, option]) => `        ${optionSpec(name, option)}`);
    specs.push("        '(-h --help)'{-h,--help}'[Print help]'");
    const operands = operandKind(command);
    if (operands === 'file') specs.push("        '*:file:_files'");
    else if (operands.length > 0) specs.push(`        '1:value:(${operands.join(' ')})'`);
    return `      ${command.name})\n        _arguments -s ${specs.join(' \\\n').trimStart()}\n        ;;`;
  });
  return `#compdef nvbraid
# zsh completion for nvbraid: save it as _nvbraid in a directory of $fpath
_nvbraid() {
  local -a commands
  commands=(
${commands.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  (( CURRENT-- ))
  case $name in
${cases.join('\n')}
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _nvbraid "$@"; else compdef _nvbraid nvbraid; fi`;
}

function optionSpec(name: string, option: Option): string {
  const kind = valueKind(option);
  const repeat = option.type === 'list' || option.type === 'count' ? '*' : '';
  const names = spellings(name, option);
  const value = kind === 'none' ? '' : `:${quoted(valueName(option))}:${action(kind)}`;
  const head = names.length > 1 ? `{${names.join(',')}}` : names[0];
  const exclusive = repeat === '' && names.length > 1 ? `'(${names.join(' ')})'` : repeat === '' ? '' : `'${repeat}'`;
  return `${exclusive}${head}'[${quoted(option.help)}]${value}'`;
}

function action(kind: 'file' | readonly string[]): string {
  if (kind === 'file') return '_files';
  return kind.length === 0 ? ' ' : `(${kind.join(' ')})`;
}

function quoted(text: string): string {
  return text.replaceAll("'", "'\\''").replace(/[[\]:]/g, '\\$&');
}
