import type { Terminal } from './terminal.ts';

/** What completion offers for a value. */
export type Completes = 'file' | 'none';

interface OptionBase {
  /** One letter. */
  readonly short?: string;
  /** Other long names that mean the same. */
  readonly aliases?: readonly string[];
  /** A phrase without full stop; the default is added to it. */
  readonly help: string;
  /** Environment variable that is used when the option is not given. */
  readonly env?: string;
  readonly completes?: Completes;
}

export interface FlagOption extends OptionBase {
  readonly type: 'flag';
}

/** A flag that counts how often it is given. */
export interface CountOption extends OptionBase {
  readonly type: 'count';
}

export interface TextOption extends OptionBase {
  readonly type: 'text';
  readonly value: string;
  readonly default?: string;
}

/** May be given several times. */
export interface ListOption extends OptionBase {
  readonly type: 'list';
  readonly value: string;
}

export interface ChoiceOption extends OptionBase {
  readonly type: 'choice';
  readonly choices: readonly string[];
  readonly default?: string;
}

/** A whole number, decimal or 0x. */
export interface NumberOption extends OptionBase {
  readonly type: 'number';
  readonly value: string;
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

/** Bytes, with the suffixes of `parseSize`. */
export interface SizeOption extends OptionBase {
  readonly type: 'size';
  readonly value: string;
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

/** Seconds, also fractions. */
export interface SecondsOption extends OptionBase {
  readonly type: 'seconds';
  readonly value: string;
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

export type Option =
  | FlagOption
  | CountOption
  | TextOption
  | ListOption
  | ChoiceOption
  | NumberOption
  | SizeOption
  | SecondsOption;

/** By long name. */
export type Options = Readonly<Record<string, Option>>;

type Value<O extends Option> = O extends FlagOption
  ? boolean
  : O extends CountOption
    ? number
    : O extends ListOption
      ? readonly string[]
      : O extends TextOption | ChoiceOption
        ? O extends { readonly default: string }
          ? string
          : string | undefined
        : O extends { readonly default: number }
          ? number
          : number | undefined;

/** What the user gave, or the defaults. */
export type Values<O extends Options> = { readonly [K in keyof O]: Value<O[K]> };

export interface Operands {
  /** As in the usage line, e.g. `FILE`. */
  readonly value: string;
  readonly help: string;
  readonly min: number;
  readonly max: number;
  readonly completes?: Completes;
  readonly choices?: readonly string[];
}

export interface Example {
  readonly line: string;
  readonly help: string;
}

export interface Invocation<O extends Options> {
  readonly options: Values<O>;
  readonly operands: readonly string[];
  /** Long names of the options that were on the command line or in the environment. */
  readonly given: ReadonlySet<string>;
  readonly terminal: Terminal;
}

/** A row of the command table: parsing, help and completion are made of it. */
export interface Command<O extends Options = Options> {
  readonly name: string;
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly options: O;
  readonly operands?: Operands;
  readonly examples: readonly Example[];
  /** Fulfilled with the exit code. Throws UsageError for what is wrong with the command line, else NvbraidError. */
  run(invocation: Invocation<O>): Promise<number>;
}

/** Gives `run` the types of the options. */
export function command<const O extends Options>(definition: Command<O>): Command {
  return definition as unknown as Command;
}
