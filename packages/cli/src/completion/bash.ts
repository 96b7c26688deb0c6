import { COMMANDS } from '../command-table.ts';
import { operandKind, spellings, valueKind } from './words.ts';

/** Completion for bash, without the bash-completion package. */
export function bashCompletion(): string {
  const names = COMMANDS.map((command) => command.name);
  const cases = COMMANDS.map((command) => {
    const entries = Object.entries(command.options);
    const options = [...entries.map(([name]) => `--${name}`), '--help'].join(' ');
    const values = entries.flatMap(([name, option]) => {
      const kind = valueKind(option);
      if (kind === 'none') return [];
      return [`      ${spellings(name, option).join('|')}) ${reply(kind)}; return ;;`];
    });
    const operands = operandKind(command);
    return [
      `    ${command.name})`,
      `    options='${options}'`,
      ...(values.length > 0 ? ['    case $previous in', ...values, '    esac'] : []),
      `    if [[ $current != -* ]]; then ${reply(operands)}; return; fi`,
      '    ;;',
    ].join('\n');
  });
  return `# bash completion for nvbraid; use it by: source <(nvbraid completion bash)
_nvbraid() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} options=
  # --name=value arrives as three words
  if [[ $current == = ]]; then current=; fi
  if [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}; fi
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W '${names.join(' ')} help --help --version' -- "$current"))
    return
  fi
  case \${COMP_WORDS[1]} in
    help) COMPREPLY=($(compgen -W '${names.join(' ')}' -- "$current")); return ;;
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$options" -- "$current"))
}
complete -o filenames -F _nvbraid nvbraid`;
}

function reply(kind: 'file' | readonly string[]): string {
  if (kind === 'file') return 'mapfile -t COMPREPLY < <(compgen -f -- "$current")';
  if (kind.length === 0) return 'COMPREPLY=()';
  return `COMPREPLY=($(compgen -W '${kind.join(' ')}' -- "$current"))`;
}
