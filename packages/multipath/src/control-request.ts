import type { Head } from './head.ts';
import type { Path } from './path.ts';

/**
 * Runs a control request on a selected path. The path is held until the request is over, whatever happens to it in
 * the meantime. With `ioctlBegin` the driver may answer something of its own to hold; then the request is no read
 * section any more: it may take long, and may even remove paths and wait for readers itself.
 */
export async function controlRequest<T>(
  head: Head,
  command: number,
  run: (path: Path) => T | Promise<T>,
  node = 0,
): Promise<T> {
  const path = head.pathOrThrow(node);
  const { template } = head;
  path.get();
  try {
    const opaque = template.ioctlBegin?.(path, command) ?? null;
    if (opaque === null) return await head.section(() => run(path));
    try {
      return await run(path);
    } finally {
      template.ioctlFinish!(opaque);
    }
  } finally {
    path.put();
  }
}
