/*
 * A target that has no open files left: takes them all on `take`, gives them back on `give`.
 * To be forked under a low limit of open files.
 */
import { closeSync, openSync } from 'node:fs';
import { createTarget } from 'nvbraid';

const [transport] = process.argv.slice(2) as [string];
const target = await createTarget({ reactors: 0 });
target.addSubsystem({ nqn: 'nqn.2026-01.org.nvbraid:files' });
target.on('log', (message) => process.send!({ kind: 'log', message }));
const { port } = await target.listen({
  ...{ transport, address: '127.0.0.1', port: 0 },
  subsystems: ['nqn.2026-01.org.nvbraid:files'],
});
const taken: number[] = [];
process.on('message', (message: string) => {
  if (message === 'take') {
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      process.send!({ kind: 'taken', count: taken.length });
    }
  } else {
    for (const fd of taken.splice(0)) closeSync(fd);
    process.send!({ kind: 'given' });
  }
});
process.on('disconnect', () => process.exit(0));
process.send!({ kind: 'ready', port, connections: target.limits.connections });
