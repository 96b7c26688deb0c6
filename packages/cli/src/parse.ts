import { NO_TLS } from 'nvbraid';
import type { Command, Invocation, Option, Options } from './command.ts';
import { formatSize, parseSize, parseWholeNumber } from './size.ts';
import { nearest } from './suggest.ts';
import { UsageError } from './usage-error.ts';

type Env = Readonly<Record<string, string | undefined>>;
type Parsed = Pick<Invocation<Options>, 'options' | 'operands' | 'given'> & { readonly help: boolean };

/**
 * Reads a command line the way getopt_long does, as nvme-cli: `--nqn X`, `--nqn=X`, unique beginnings of long names,
 * `-n X`, `-nX`, flags together as `-gG`, `--` before operands that begin with a dash.
 * @throws UsageError
 */
export function parseArguments(command: Command, argv: readonly string[], env: Env = {}): Parsed {
  const found = new Map<string, unknown>();
  const operands: string[] = [];
  let help = false;
  const set = (name: string, option: Option, text: string, as: string): void => {
    if (option.type === 'flag') found.set(name, true);
    else if (option.type === 'count') found.set(name, ((found.get(name) as number | undefined) ?? 0) + 1);
    else if (option.type === 'list') found.set(name, [...((found.get(name) as string[] | undefined) ?? []), text]);
    else found.set(name, parseValue(option, text, as));
  };
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      operands.push(...rest.splice(0));
    } else if (word === '--help' || word === '-h') {
      help = true;
    } else if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const [name, option] = findLong(command, equals < 0 ? word.slice(2) : word.slice(2, equals));
      if (!takesValue(option)) {
        if (equals >= 0) throw new UsageError(`--${name} takes no value`);
        set(name, option, '', `--${name}`);
      } else {
        set(name, option, equals >= 0 ? word.slice(equals + 1) : next(rest, `--${name}`, option), `--${name}`);
      }
    } else if (word.startsWith('-') && word !== '-') {
      for (let i = 1; i < word.length; i++) {
        const letter = word[i]!;
        if (letter === 'h') {
          help = true;
          continue;
        }
        const [name, option] = findShort(command, letter);
        if (!takesValue(option)) {
          set(name, option, '', `-${letter}`);
          continue;
        }
        const attached = word.slice(i + 1).replace(/^=/, '');
        set(name, option, attached !== '' ? attached : next(rest, `-${letter}`, option), `-${letter}`);
        break;
      }
    } else {
      operands.push(word);
    }
  }
  for (const [name, option] of Object.entries(command.options)) {
    const text = option.env === undefined ? undefined : env[option.env];
    if (!found.has(name) && text !== undefined && text !== '') set(name, option, text, `$${option.env}`);
  }
  if (!help) checkOperands(command, operands);
  const options = Object.fromEntries(
    Object.entries(command.options).map(([name, option]) => [name, found.get(name) ?? defaultOf(option)]),
  );
  return { options: options as Invocation<Options>['options'], operands, given: new Set(found.keys()), help };
}

export function takesValue(option: Option): boolean {
  return option.type !== 'flag' && option.type !== 'count';
}

/** The word for an option's value in help and messages. */
export function valueName(option: Option): string {
  if (option.type === 'choice') return option.choices.join('|');
  return 'value' in option ? option.value : '';
}

export function defaultOf(option: Option): unknown {
  switch (option.type) {
    case 'flag':
      return false;
    case 'count':
      return 0;
    case 'list':
      return [];
    default:
      return option.default;
  }
}

function next(rest: string[], as: string, option: Option): string {
  const text = rest.shift();
  if (text === undefined) throw new UsageError(`${as} needs a value: ${as} ${valueName(option)}`);
  return text;
}

/** Of nvme-cli. Who asks for TLS is told why there is none. */
const TLS_OPTIONS = new Set(['tls', 'tls-key', 'tls_key', 'tls-key-identity', 'keyring', 'concat']);

function findLong(command: Command, name: string): [string, Option] {
  const exact = command.options[name];
  if (exact !== undefined && Object.hasOwn(command.options, name)) return [name, exact];
  const names = longNames(command);
  const alias = names.get(name);
  if (alias !== undefined) return [alias, command.options[alias]!];
  const beginnings = new Set([...names].filter(([long]) => name !== '' && long.startsWith(name)).map(([, own]) => own));
  if (beginnings.size === 1) {
    const own = [...beginnings][0]!;
    return [own, command.options[own]!];
  }
  if (beginnings.size > 1) {
    throw new UsageError(`--${name} may mean ${[...beginnings].map((own) => `--${own}`).join(', ')}`);
  }
  if (TLS_OPTIONS.has(name) && names.has('host-traddr')) throw new UsageError(`--${name}: ${NO_TLS}`);
  const close = nearest(name, [...names.keys()]);
  throw new UsageError(`unknown option --${name}${close === null ? '' : `; did you mean --${close}?`}`);
}

/** Long names and aliases -> the name in the table. */
export function longNames(command: Command): Map<string, string> {
  const names = new Map<string, string>();
  for (const [name, option] of Object.entries(command.options)) {
    names.set(name, name);
    for (const alias of option.aliases ?? []) names.set(alias, name);
  }
  return names;
}

function findShort(command: Command, letter: string): [string, Option] {
  for (const [name, option] of Object.entries(command.options)) if (option.short === letter) return [name, option];
  throw new UsageError(`unknown option -${letter}`);
}

function parseValue(option: Option, text: string, as: string): string | number {
  switch (option.type) {
    case 'choice':
      if (option.choices.includes(text)) return text;
      throw new UsageError(`${as}: '${text}' is none of ${option.choices.join(', ')}`);
    case 'number': {
      const negative = text.startsWith('-');
      const value = parseWholeNumber(negative ? text.slice(1) : text);
      if (value === null) throw new UsageError(`${as}: '${text}' is not a whole number`);
      return checkRange(option, negative ? -value : value, as, String);
    }
    case 'size': {
      const value = parseSize(text);
      if (value === null) throw new UsageError(`${as}: '${text}' is not a size such as 4096, 4k, 512MiB or 1GiB`);
      return checkRange(option, value, as, formatSize);
    }
    case 'seconds': {
      const match = /^([0-9]*\.?[0-9]+)(s|m|h)?$/.exec(text);
      if (match === null) throw new UsageError(`${as}: '${text}' is not a time in seconds`);
      const factor = match[2] === 'h' ? 3600 : match[2] === 'm' ? 60 : 1;
      return checkRange(option, Number(match[1]) * factor, as, (seconds) => `${seconds} s`);
    }
    default:
      if (text === '') throw new UsageError(`${as} must not be empty`);
      return text;
  }
}

function checkRange(
  option: { readonly min: number; readonly max: number },
  value: number,
  as: string,
  show: (value: number) => string,
): number {
  if (value < option.min) throw new UsageError(`${as}: ${show(value)} is less than ${show(option.min)}`);
  if (value > option.max) throw new UsageError(`${as}: ${show(value)} is more than ${show(option.max)}`);
  return value;
}

function checkOperands(command: Command, operands: readonly string[]): void {
  const { min = 0, max = 0, value = '', choices } = command.operands ?? {};
  if (operands.length < min) throw new UsageError(`${value} is missing`);
  if (operands.length > max) throw new UsageError(`unexpected argument '${operands[max]}'`);
  for (const operand of operands) {
    if (operand === '') throw new UsageError(`${value} must not be empty`);
    if (choices !== undefined && !choices.includes(operand)) {
      throw new UsageError(`'${operand}' is none of ${choices.join(', ')}`);
    }
  }
}
