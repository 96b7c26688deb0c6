import { NvbraidError } from '@nvbraid/base';
import { type FileEntry, optionName, setOption } from './fabrics-options.ts';

export interface JsonPort {
  readonly where: string;
  readonly nqn: string;
  readonly entry: FileEntry;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads /etc/nvme/config.json: a list of hosts, each with subsystems, each with ports.
 * @param note takes what is left out of account
 * @throws NvbraidError EINVAL that names the place
 */
export function parseConfigJson(text: string, path: string, note: (sentence: string) => void): JsonPort[] {
  let tree: unknown;
  try {
    tree = JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const line = /\(line ([0-9]+)/.exec(message)?.[1] ?? text.split('\n').length;
    throw new NvbraidError('EINVAL', `${path}:${line}: this is not JSON, or not all of it`, { cause: error });
  }
  const ports: JsonPort[] = [];
  for (const [i, host] of list(tree, path, 'hosts').entries()) {
    const where = `${path}: [${i}]`;
    const { hostnqn, hostid, subsystems = [] } = object(host, where);
    for (const [j, one] of list(subsystems, where, 'subsystems').entries()) {
      const place = `${where}.subsystems[${j}]`;
      const { nqn, ports: several = [] } = object(one, place);
      const name: FileEntry = { options: {}, unsupported: null };
      setOption(name, 'nqn', nqn, place);
      for (const [k, port] of list(several, place, 'ports').entries()) {
        const at = `${place}.ports[${k}]`;
        const entry: FileEntry = { options: {}, unsupported: null };
        if (hostnqn !== undefined) setOption(entry, 'hostnqn', hostnqn, where);
        if (hostid !== undefined) setOption(entry, 'hostid', hostid, where);
        for (const [key, value] of Object.entries(object(port, at))) {
          const option = optionName(key);
          if (option === null) note(`${at}: ${JSON.stringify(key.slice(0, 60))} is not known and left out`);
          else setOption(entry, option, value, at);
        }
        ports.push({ where: at, nqn: name.options.nqn!, entry });
      }
    }
  }
  return ports;
}

function object(value: unknown, where: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new NvbraidError('EINVAL', `${where} is not an object`);
}

function list(value: unknown, where: string, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new NvbraidError('EINVAL', `${where}: the ${what} are not a list`);
}
