import { writeSync } from 'node:fs';
import { fileDevice, IoOp, IoRequest, IoResult, openDevice, prepareDevice, zonedDevice } from '../../src/index.ts';
import { fillBlocks } from './blocks.ts';

/*
 * Appends to the zones of a file, resetting each before its turn comes again, and says on its standard output, with a
 * system call of its own, what has been acknowledged: `zone-writer PATH ZONE-SIZE`. There to be killed.
 */

const [path, zoneSize] = process.argv.slice(2);
const prepared = await prepareDevice(zonedDevice(fileDevice({ path: path! }), { zoneSize: Number(zoneSize) }));
const device = openDevice(prepared, { threads: 1 });
const { geometry } = device.zones!;
const zoneBytes = geometry.zoneBlocks * device.blockSize;
const memory = new Uint8Array(device.blockSize);

function run(op: IoOp, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const io = new IoRequest().set(op, { memory, offset });
    const over = (): void => (io.result === IoResult.Ok ? resolve(io.offset) : reject(new Error(String(io.result))));
    io.onDone = over;
    if (device.submit(io)) over();
  });
}

let tag = 0;
for (let zone = 0; ; zone = (zone + 1) % geometry.zoneCount) {
  await run(IoOp.ZoneReset, zone * zoneBytes);
  writeSync(1, `reset ${zone}\n`);
  for (let n = 0; n < geometry.zoneCapacity; n++) {
    fillBlocks(memory, ++tag);
    const place = await run(IoOp.ZoneAppend, zone * zoneBytes);
    writeSync(1, `block ${place / device.blockSize} ${tag}\n`);
  }
}
