import { AccessState, Bio, BioStatus, Head, type HeadTemplate, Iopolicy, Outcome, Path } from '@nvbraid/multipath';

/** A request as this driver understands it. */
class DiskBio extends Bio {
  write = false;
  data = new Uint8Array(512);
}

/** One cable to a disk. Both cables of this example lead to the same medium. */
class Cable extends Path {
  plugged = true;
  /** What the driver believes; it learns the truth from errors. */
  broken = false;

  serve(bio: DiskBio): void {
    if (!this.plugged) head.endBio(bio, Outcome.PathError, BioStatus.Transport);
    else {
      if (bio.write) medium.set(bio.data, bio.offset);
      else bio.data.set(medium.subarray(bio.offset, bio.offset + bio.bytes));
      head.endBio(bio, Outcome.Ok);
    }
  }
}

const template: HeadTemplate<Cable, DiskBio> = {
  isDisabled: (path) => path.broken,
  isOptimized: (path) => !path.broken && path.accessState === AccessState.Optimized,
  availablePath: () => true, // somebody will plug it in again
  submitBio: (path, bio) => setImmediate(() => path.serve(bio)), // a real driver sends a command here
  failover: (path) => (path.broken = true),
  removeHead: () => {},
};

const medium = new Uint8Array(1 << 20);
const head = new Head<Cable, DiskBio>({
  name: 'example',
  template,
  iopolicy: new Iopolicy({ initial: 'round-robin' }),
  clock: { nowMs: () => performance.now() },
  wake: () => setImmediate(() => head.tick(performance.now())),
});
head.allocDisk({ name: 'disk0', parent: head, capacityBytes: medium.length });
const [left, right] = ['left', 'right'].map((name) => new Cable({ name, accessState: AccessState.Optimized }));
for (const path of [left!, right!]) {
  head.addPath(path);
  head.setLive(path);
}
left!.plugged = false; // nobody tells the driver
for (let block = 0; block < 4; block++) {
  const bio = Object.assign(new DiskBio(), { write: true, offset: block * 512, bytes: 512 });
  bio.end = () => console.log(`block ${block} ${bio.status === BioStatus.Ok ? 'written' : 'failed'}`);
  head.submitBio(bio);
}
process.on('exit', () => console.log(`left ${left!.failoverCount} failovers, right ${right!.ioCount} requests`));
