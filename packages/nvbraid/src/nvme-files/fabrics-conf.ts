import { NvbraidError } from '@nvbraid/base';
import { type FileEntry, isFlag, optionName, setOption } from './fabrics-options.ts';

export interface IniController {
  readonly where: string;
  /** Null for a discovery controller. */
  readonly nqn: string | null;
  readonly entry: FileEntry;
}

type Setting = readonly [name: string, value: string, where: string];

interface Section {
  readonly kind: string;
  readonly where: string;
  readonly settings: Setting[];
  readonly controllers: { readonly where: string; readonly settings: readonly Setting[] }[];
}

const KINDS = ['host', 'discovery controller defaults', 'i/o controller defaults', 'discovery controller', 'subsystem'];

/**
 * Reads nvme-fabrics.conf of nvme-cli 3: what a `controller` line says goes before its section, that before [Host], that before
 * the defaults. A key without a value takes back what a place of less weight has said.
 * @throws NvbraidError EINVAL that names file and line
 */
export function parseFabricsConf(text: string, path: string): IniController[] {
  const sections = sectionsOf(text, path);
  const of = (kind: string): Setting[] =>
    sections.filter((section) => section.kind === kind).flatMap(({ settings }) => settings);
  return sections.flatMap((section) => {
    const discovery = section.kind === 'discovery controller';
    if (!discovery && section.kind !== 'subsystem') return [];
    const defaults = of(discovery ? 'discovery controller defaults' : 'i/o controller defaults');
    const nqn = section.settings.find(([name]) => name === 'nqn')?.[1] ?? null;
    if (!discovery && nqn === null) throw new NvbraidError('EINVAL', `${section.where}: the subsystem has no nqn`);
    return section.controllers.map(({ where, settings }) => {
      const merged = new Map<string, Setting>();
      for (const setting of [...defaults, ...of('host'), ...section.settings, ...settings])
        merged.set(setting[0], setting);
      const entry: FileEntry = { options: {}, unsupported: null };
      for (const [name, value, at] of merged.values()) if (value !== '') setOption(entry, name, value, at);
      return { where, nqn: discovery ? null : nqn, entry };
    });
  });
}

function sectionsOf(text: string, path: string): Section[] {
  const sections: Section[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const where = `${path}:${i + 1}`;
    const content = line.trim();
    if (content === '' || content.startsWith('#') || content.startsWith(';')) continue;
    const kind = /^\[(.*)\]$/.exec(content)?.[1]?.trim().toLowerCase();
    if (kind !== undefined) {
      if (!KINDS.includes(kind)) throw new NvbraidError('EINVAL', `${where}: there is no section of this name`);
      sections.push({ kind, where, settings: [], controllers: [] });
      continue;
    }
    const section = sections.at(-1);
    if (section === undefined) throw new NvbraidError('EINVAL', `${where}: this stands before the first section`);
    const [key, value] = pair(content, where);
    if (key !== 'controller') section.settings.push(known(key, value, where));
    else {
      const parts = value
        .split(';')
        .map((part) => part.trim())
        .filter((part) => part !== '');
      section.controllers.push({ where, settings: parts.map((part) => known(...pair(part, where), where)) });
    }
  }
  return sections;
}

function pair(text: string, where: string): [string, string] {
  const equals = text.indexOf('=');
  if (equals > 0) return [text.slice(0, equals).trim(), text.slice(equals + 1).trim()];
  const flag = optionName(text);
  if (flag !== null && isFlag(flag)) return [text, 'true'];
  throw new NvbraidError('EINVAL', `${where}: this is not KEY = VALUE`);
}

function known(key: string, value: string, where: string): Setting {
  const name = optionName(key);
  if (name !== null) return [name, value, where];
  throw new NvbraidError('EINVAL', `${where}: ${JSON.stringify(key.slice(0, 60))} is no option`);
}
