import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { tool } from './own.ts';

/** The two ends of the links; as in the selftest, ns1 has the target and ns2 the host. */
export const SIDES = ['target', 'host'] as const;
export type Side = (typeof SIDES)[number];

/** Two names for namespaces, which tell who has made them. */
export function newNames(): Readonly<Record<Side, string>> {
  const stem = `nvb-${process.pid}-${randomBytes(3).toString('hex')}`;
  return { target: `${stem}-target`, host: `${stem}-host` };
}

const OURS = /^nvb-(\d+)-[0-9a-f]{6}-(?:target|host)$/;

/** Namespaces whose maker was killed before it could remove them. */
export async function leftNamespaces(): Promise<string[]> {
  const names = (await tool('ip', 'netns', 'list')).split('\n').map((line) => line.split(' ')[0]!);
  return names.filter((name) => {
    const pid = OURS.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  });
}

/** Removes them, with the processes that still run inside. */
export async function removeLeft(): Promise<string[]> {
  const names = await leftNamespaces();
  for (const name of names) {
    const pids = (await tool('ip', 'netns', 'pids', name)).split('\n').filter((pid) => pid !== '');
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
    await tool('ip', 'netns', 'delete', name);
  }
  return names;
}
