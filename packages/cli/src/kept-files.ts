import { type FileHandle, open } from 'node:fs/promises';
import { NvbraidError } from 'nvbraid';
import { type ChosenDevice, isMemory } from './device-choice.ts';
import { fileProblem } from './file-error.ts';

/**
 * The last word on what was written: holds a descriptor of every file from the beginning on, so that the kernel reports
 * each failure of write-back since then, also one that nobody asked for.
 */
export class KeptFiles {
  readonly #files: { readonly name: string; readonly file: FileHandle }[] = [];

  /** Call it when the devices are in service: files that are made are there then. */
  async add(device: ChosenDevice): Promise<void> {
    if (!isMemory(device)) await this.#hold(device.name);
  }

  async #hold(path: string): Promise<void> {
    try {
      this.#files.push({ name: path, file: await open(path, 'r') });
    } catch {
      // Somebody has taken the name or the permission away. The target itself flushes what it has open.
    }
  }

  /** Holds these files and no others; lets go of those that are not served any more. */
  async keepOnly(paths: ReadonlySet<string>): Promise<void> {
    for (const { name, file } of this.#files.splice(0)) {
      if (paths.has(name)) this.#files.push({ name, file });
      else await file.close();
    }
    const held = new Set(this.#files.map(({ name }) => name));
    for (const path of paths) if (!held.has(path)) await this.#hold(path);
  }

  /**
   * Makes everything stable and lets go of the files.
   * @throws NvbraidError EIO when something that was written is not on disk
   */
  async settle(): Promise<void> {
    let failed: NvbraidError | null = null;
    for (const { name, file } of this.#files.splice(0)) {
      try {
        await file.datasync();
      } catch (error) {
        const message = `not everything that was written to ${name} is on disk: ${fileProblem(error)}`;
        failed ??= new NvbraidError('EIO', message, { cause: error });
      } finally {
        await file.close();
      }
    }
    if (failed !== null) throw failed;
  }
}
