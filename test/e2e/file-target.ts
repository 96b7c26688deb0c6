/** A target in a process of its own: `file-target.ts PATH NQN` serves the file and prints its port and process id. */
import { fileDevice } from '@nvbraid/blockdev';
import { createTarget } from 'nvbraid';

const [path, nqn] = process.argv.slice(2) as [string, string];
const target = await createTarget({ reactors: 1 });
target.addSubsystem({ nqn });
await target.addNamespace(nqn, { device: fileDevice({ path, size: 1 << 20, create: true, blockSize: 4096 }) });
const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [nqn] });
process.on('SIGTERM', () => void target.close());
console.log(port.port, process.pid);
