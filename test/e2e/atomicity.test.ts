import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DeviceSpec, fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { attach, serve } from './story.ts';

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-atomicity-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const devices: Record<string, () => DeviceSpec> = {
  memory: () => memoryDevice({ size: 1 << 20, blockSize: 4096 }),
  file: () => fileDevice({ path: join(scratch, 'race.img'), size: 1 << 20, create: true, blockSize: 4096 }),
};

for (const [name, device] of Object.entries(devices)) {
  for (const reactors of [1, 2]) {
    test(`${reactors} reactor(s) racing for one block of ${name}: every read returns one whole write`, async () => {
      const { target, port } = await serve({ device: device() }, { reactors });
      // Each queue belongs to one reactor; digests prove that the digested bytes are the bytes sent.
      const hosts = await Promise.all([0, 1, 2, 3].map(() => attach(port, { dataDigest: true })));
      const end = performance.now() + 700;
      let reads = 0;
      await Promise.all(
        hosts.map(async (host, n) => {
          const ns = host.namespace(1);
          const work = async (k: number): Promise<void> => {
            const block = Buffer.alloc(4096);
            for (let i = 0; performance.now() < end; i++) {
              if (n < 2) await ns.write(3, block.fill((n * 128 + k * 31 + i) & 0xff));
              else {
                await ns.read(3, block);
                reads++;
                const odd = block.findIndex((byte) => byte !== block[0]);
                assert.equal(odd, -1, `a torn block: byte ${odd} of another write`);
              }
            }
          };
          await Promise.all([0, 1, 2, 3].map(work));
        }),
      );
      assert.ok(reads > 100, `${reads} reads`);
      await Promise.all(hosts.map((host) => host.disconnect()));
      await target.close();
    });
  }
}
