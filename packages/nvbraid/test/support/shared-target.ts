import { createInterface } from 'node:readline';
import { delayFilter, fileDevice, filtersOf, type PreparedDevice } from '@nvbraid/blockdev';
import { createTarget } from 'nvbraid';

/*
 * A target process that serves a shared file: `node shared-target.ts JSON`. It says where it listens, does what it reads
 * from its standard input, a word per line, and answers each with a line.
 */

export interface SharedTargetOptions {
  readonly path: string;
  readonly nqn: string;
  readonly cntlidMin: number;
  readonly cntlidMax: number;
  readonly reactors: number;
}

const options = JSON.parse(process.argv[2]!) as SharedTargetOptions;
const { path, nqn, cntlidMin, cntlidMax, reactors } = options;

function say(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

try {
  const target = await createTarget({ reactors });
  target.on('log', (message) => say({ log: message }));
  target.on('controller-gone', (controller, reason) => say({ gone: controller.cntlid, reason }));
  target.addSubsystem({ nqn, cntlidMin, cntlidMax });
  const file = fileDevice({ path, size: 1 << 20, create: true, shared: true });
  const nsid = await target.addNamespace(nqn, { device: delayFilter(file) });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [nqn] });
  const prepared = target.core.subsystem(nqn)!.namespace(nsid)!.device as PreparedDevice;
  const [filter] = filtersOf(prepared);
  say({ port });
  for await (const word of createInterface({ input: process.stdin })) {
    if (word === 'hold') filter!.set({ hold: 'write' });
    else if (word === 'release') filter!.act('release');
    else if (word === 'close') await target.close();
    else say({ held: filter!.report() });
    say({ done: word });
  }
} catch (error) {
  say({ failed: (error as Error).message });
}
process.exit();
