/*
 * Our target as the benchmark runs it, in a process of its own: one reactor, one namespace in memory, or on the file
 * that the first argument names.
 * Prints "listening PORT"; ends by SIGTERM, and with its standard input, so that it never outlives what started it.
 */
import { fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { createTarget } from 'nvbraid';
import { ADDRESS, BLOCK_SIZE, NAMESPACE_MIB, SUBSYSTEM_NQN } from './cases.ts';

const target = await createTarget({ reactors: 1 });
target.addSubsystem({ nqn: SUBSYSTEM_NQN });
const [, , path] = process.argv;
const device =
  path === undefined
    ? memoryDevice({ size: NAMESPACE_MIB * 2 ** 20, blockSize: BLOCK_SIZE })
    : fileDevice({ path, blockSize: BLOCK_SIZE });
await target.addNamespace(SUBSYSTEM_NQN, { device });
const port = await target.listen({ transport: 'tcp', address: ADDRESS, port: 0, subsystems: [SUBSYSTEM_NQN] });
process.stdout.write(`listening ${port.port}\n`);

function stop(): void {
  target.close().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
process.once('SIGTERM', stop);
process.stdin.once('end', stop).resume();
