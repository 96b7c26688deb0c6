/*
 * The target of the soak, in a process of its own that is forked: answers `sample` with what it has, and changes its
 * configuration on `change`. Ends with its parent.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memoryDevice } from '@nvbraid/blockdev';
import { AnaState } from '@nvbraid/wire';
import { createTarget } from 'nvbraid';
import { BLOCK_SIZE, NAMESPACE_BYTES as BYTES, NQN } from './names.ts';

/* Namespace 1 holds the blocks that are verified, 2 changes its access state, 3 its size, 4 comes and goes. */

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const target = await createTarget({ reactors: 1 });
target.addSubsystem({ nqn: NQN });
for (const nsid of [1, 2, 3]) {
  await target.addNamespace(NQN, { nsid, device: memoryDevice({ size: BYTES, blockSize: BLOCK_SIZE }) });
}
const subsystem = target.core.subsystem(NQN)!;
subsystem.setAnaGroup(2, 2);
const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
const logged = new Map<string, number>();
target.on('log', (message) => {
  const kind = message.replace(/[\d.:]+/g, '#');
  logged.set(kind, (logged.get(kind) ?? 0) + 1);
});

let changes = 0;
async function change(): Promise<void> {
  const blocks = BYTES / BLOCK_SIZE;
  switch (changes++ % 4) {
    case 0:
      target.core.port(port.portid)!.setAnaState(2, AnaState.Inaccessible);
      break;
    case 1:
      target.core.port(port.portid)!.setAnaState(2, AnaState.Optimized);
      break;
    case 2:
      subsystem.resizeNamespace(3, changes % 8 === 3 ? blocks / 2 : blocks);
      break;
    default:
      if (subsystem.namespace(4) === undefined) {
        await target.addNamespace(NQN, { nsid: 4, device: memoryDevice({ size: 1 << 20, blockSize: BLOCK_SIZE }) });
      } else await target.removeNamespace(NQN, 4);
  }
}

function sample() {
  collect();
  collect();
  const memory = process.memoryUsage();
  const threads = Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const files = readdirSync('/proc/self/fd').length;
  const { connections, controllers, limitsMet } = target.stats();
  return {
    ...{ rss: memory.rss, heap: memory.heapUsed, external: memory.external, files, threads },
    ...{ connections, controllers, limitsMet, hosts: target.hosts.list().length, changes, log: [...logged] },
  };
}

process.on('message', (message: { kind: string }) => {
  if (message.kind === 'sample') process.send!({ kind: 'sample', ...sample() });
  else if (message.kind === 'change') void change();
  else void target.close().then(() => process.exit(0));
});
process.on('disconnect', () => process.exit(0));
process.send!({ kind: 'ready', port: port.port });
