import { Memory, NvbraidError } from '@nvbraid/base';

const memories = new WeakMap<ArrayBufferLike, Memory>();

/**
 * The memory behind a caller's buffer, made once per ArrayBuffer: the buffer's bytes start at `buffer.byteOffset`.
 * @throws NvbraidError EINVAL for memory that may shrink while a command uses it, or is gone
 */
export function memoryOf(buffer: Uint8Array): Memory {
  const whole = buffer.buffer;
  // Its length is 0, and nothing would be read or written without a word.
  if (buffer.byteLength === 0 && whole instanceof ArrayBuffer && whole.detached) {
    throw new NvbraidError('EINVAL', 'the buffer has been transferred away');
  }
  let memory = memories.get(whole);
  if (memory === undefined) {
    if (whole instanceof ArrayBuffer && whole.resizable) {
      throw new NvbraidError('EINVAL', 'a buffer for I/O must not lie in a resizable ArrayBuffer');
    }
    memory = new Memory(whole);
    memories.set(whole, memory);
  }
  return memory;
}
