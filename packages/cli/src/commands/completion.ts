import { command } from '../command.ts';
import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { zshCompletion } from '../completion/zsh.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

export const completion = command({
  name: 'completion',
  summary: 'Print a completion script for a shell',
  description: ['The script is made of the same table as the help. It completes commands, options and their values.'],
  options: {},
  operands: { value: 'SHELL', help: 'bash, zsh or fish', min: 1, max: 1, choices: Object.keys(SHELLS) },
  examples: [
    { line: 'source <(nvbraid completion bash)', help: 'for this bash' },
    { line: 'nvbraid completion fish > ~/.config/fish/completions/nvbraid.fish', help: 'for fish, from now on' },
  ],
  async run({ operands, terminal }) {
    terminal.line(SHELLS[operands[0] as keyof typeof SHELLS]());
    return 0;
  },
});
