import { NvbraidError } from '@nvbraid/base';
import { type FileEntry, isFlag, optionName, setOption, shortOption } from './fabrics-options.ts';

/**
 * Reads /etc/nvme/discovery.conf: each line has the options of one `connect-all`; `#` begins a comment. As nvme-cli, words are
 * separated by blanks and never quoted.
 * @throws NvbraidError EINVAL that names file and line
 */
export function parseDiscoveryConf(
  text: string,
  path: string,
): { readonly where: string; readonly entry: FileEntry }[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    const words = line
      .replace(/#.*/, '')
      .split(/[ \t]+/)
      .filter((word) => word !== '');
    if (words.length === 0) return [];
    const where = `${path}:${i + 1}`;
    const entry: FileEntry = { options: {}, unsupported: null };
    while (words.length > 0) option(entry, words, where);
    return [{ where, entry }];
  });
}

/** Takes one option, and its value, from the words. */
function option(entry: FileEntry, words: string[], where: string): void {
  const word = words.shift()!;
  const [, dashes, text, attached] = /^(--?)([^=]+)(?:=(.*))?$/.exec(word) ?? [];
  const shown = JSON.stringify(word.slice(0, 60));
  if (text === undefined) throw new NvbraidError('EINVAL', `${where}: ${shown} is no option of connect-all`);
  const name = dashes === '--' ? optionName(text) : shortOption(text[0]!);
  if (name === null) throw new NvbraidError('EINVAL', `${where}: ${shown} is no option of connect-all`);
  const rest =
    dashes === '-' && text.length > 1 ? text.slice(1) + (attached === undefined ? '' : `=${attached}`) : attached;
  if (isFlag(name)) {
    setOption(entry, name, true, where);
    // Letters together, as -gG.
    if (dashes === '-' && rest !== undefined) words.unshift(`-${rest}`);
    return;
  }
  const value = rest ?? words.shift();
  if (value === undefined) throw new NvbraidError('EINVAL', `${where}: ${name} has no value`);
  setOption(entry, name, value, where);
}
