import { Memory } from '@nvbraid/base';
import { addressOf, koffi } from './libc.ts';

let found: number | null = null;

/**
 * The descriptor that becomes readable when Node's event loop of this thread has something to do: completions of fs and
 * of native calls, messages, sockets (timers apart). -1 where this Node does not say.
 */
export function nodeLoopFd(): number {
  found ??= find();
  return found;
}

function find(): number {
  try {
    const node = koffi().load(null);
    const getLoop = node.func('napi_get_uv_event_loop', 'int', ['void *', 'uintptr_t']);
    const backendFd = node.func('uv_backend_fd', 'int', ['uintptr_t']);
    const result = Memory.alloc(8);
    if (getLoop(koffi().node.env, addressOf(result)) !== 0) return -1;
    return backendFd(Number(result.view.getBigUint64(0, true)));
  } catch {
    return -1;
  }
}
