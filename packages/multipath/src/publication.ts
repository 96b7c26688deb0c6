import type { Head } from './head.ts';
import { PassthroughDevice } from './passthrough.ts';

/** Shows a head's disk to its users once a path is live, and hides it. */
export class Publication {
  readonly #head: Head;
  /** The latest attempt; the end of an older one, or of one that was withdrawn, means nothing. */
  #attempt: object | null = null;
  /** Somebody is to look for partitions. */
  scanPending = false;

  constructor(head: Head) {
    this.#head = head;
  }

  /**
   * Shows the disk; false when that failed. The flag is set before anything else, so that only one of two paths that
   * race does it. A driver that needs time answers a promise; requests may come meanwhile.
   */
  publish(): boolean {
    const head = this.#head;
    head.diskLive = true;
    const attempt = {};
    this.#attempt = attempt;
    try {
      const published = head.template.addDisk?.(head);
      if (published instanceof Promise) {
        published.then(
          () => this.#published(attempt),
          (error) => this.#failed(attempt, error),
        );
      } else {
        this.#published(attempt);
      }
    } catch (error) {
      this.#failed(attempt, error);
    }
    return head.diskLive;
  }

  /** Hides the disk, also while it is being shown. */
  withdraw(): void {
    const head = this.#head;
    const live = head.diskLive;
    head.diskLive = false;
    this.#attempt = null;
    this.scanPending = false;
    head.kickRequeue();
    if (!live) return;
    if (head.cdevLive) {
      head.cdevLive = false;
      head.cdev = null;
      head.template.delCdev!(head);
    }
    head.template.delDisk?.(head);
  }

  #published(attempt: object): void {
    if (this.#attempt !== attempt) return;
    const head = this.#head;
    head.disk!.added = true;
    if (head.template.addCdev !== undefined) this.#addCdev();
    head.updateLinks();
    if (head.template.scanPartitions === undefined) return;
    this.scanPending = true;
    head.wake();
  }

  /** A disk without its passthrough device is a disk. */
  #addCdev(): void {
    const head = this.#head;
    try {
      head.template.addCdev!(head);
      head.cdev = new PassthroughDevice(head);
      head.cdevLive = true;
    } catch (error) {
      head.log(`no passthrough device: ${String(error)}`);
    }
  }

  #failed(attempt: object, error: unknown): void {
    if (this.#attempt !== attempt) return;
    this.#head.diskLive = false;
    this.#head.log(`the disk could not be shown: ${String(error)}`);
    this.#head.kickRequeue();
  }
}
