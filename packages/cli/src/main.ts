import type { Command } from './command.ts';
import { COMMANDS, findCommand } from './command-table.ts';
import { errorJson, isBug, sentence } from './explain.ts';
import { helpOf, overview } from './help.ts';
import { parseArguments } from './parse.ts';
import { nearest } from './suggest.ts';
import { Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { version } from './version.ts';

export const Exit = { Ok: 0, Failed: 1, Usage: 2 } as const;

/** What is still open this long after the command is done does not keep the process. */
const LINGER_MS = 3000;

/** The program: runs the command line, sets the exit code. */
export async function main(argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  const terminal = new Terminal();
  const bugs = (error: unknown): void => {
    terminal.endScreen();
    terminal.endStatus();
    report(terminal, 'nvbraid', error);
    process.exit(Exit.Failed);
  };
  process.on('uncaughtException', bugs);
  process.on('unhandledRejection', bugs);
  // `nvbraid … | head`: the reader has enough. Nothing is wrong.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(Exit.Ok);
      bugs(error);
    });
  }
  process.exitCode = await run(argv, terminal);
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

/** Runs a command line; fulfilled with the exit code. */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [first] = argv;
  if (first === undefined) {
    terminal.note(overview());
    return Exit.Usage;
  }
  if (first === '--version' || first === '-V' || first === 'version') {
    terminal.line(`nvbraid ${version()}`);
    return Exit.Ok;
  }
  if (first === '--help' || first === '-h' || first === 'help') return help(argv.slice(1), terminal);
  const found = findCommand(argv);
  if (found === null) return unknownCommand(first, terminal);
  return runCommand(found.command, found.rest, terminal);
}

async function runCommand(command: Command, argv: readonly string[], terminal: Terminal): Promise<number> {
  let json = false;
  try {
    const { help, ...parsed } = parseArguments(command, argv, terminal.env);
    if (help) {
      terminal.line(helpOf(command));
      return Exit.Ok;
    }
    json = parsed.options['output-format'] === 'json';
    return await command.run({ ...parsed, terminal });
  } catch (error) {
    terminal.endStatus();
    if (error instanceof UsageError) {
      terminal.note(`nvbraid ${command.name}: ${error.message}\nTry 'nvbraid ${command.name} --help'.`);
      return Exit.Usage;
    }
    if (json) terminal.json(errorJson(error));
    report(terminal, `nvbraid ${command.name}`, error);
    return Exit.Failed;
  }
}

function help(words: readonly string[], terminal: Terminal): number {
  if (words.length === 0) {
    terminal.line(overview());
    return Exit.Ok;
  }
  const found = findCommand(words);
  if (found === null) return unknownCommand(words[0]!, terminal);
  terminal.line(helpOf(found.command));
  return Exit.Ok;
}

function unknownCommand(word: string, terminal: Terminal): number {
  const close = nearest(
    word,
    COMMANDS.map((command) => command.name),
  );
  const what = word.startsWith('-') ? 'option' : 'command';
  const hint = close === null ? '' : `; did you mean '${close}'?`;
  terminal.note(`nvbraid: unknown ${what} '${word}'${hint}\nTry 'nvbraid --help'.`);
  return Exit.Usage;
}

function report(terminal: Terminal, who: string, error: unknown): void {
  const debug = terminal.env.NVBRAID_DEBUG === '1';
  if (isBug(error)) {
    terminal.note(`${who}: internal error: ${sentence(error)}${debug ? '' : ' (NVBRAID_DEBUG=1 shows where)'}`);
  } else {
    terminal.note(`${who}: ${sentence(error)}`);
  }
  if (debug) for (let at = error; at instanceof Error; at = at.cause) terminal.note(at.stack ?? String(at));
}
