import { Memory, type Outbox, Rng, skipOne, type Timers, takeOne } from '@nvbraid/base';
import {
  CAPSULE_CMD_SQE,
  CAPSULE_RESP_CQE,
  COMMON_HEADER_SIZE,
  CommonHeader,
  Cqe,
  DIGEST_SIZE,
  PduFlag,
  PduType,
  R2T,
  Sqe,
} from '@nvbraid/wire';
import { MAX_FAULT_HELD_BYTES, MAX_FAULT_PDU_BYTES } from '../limits.ts';
import {
  commandCode,
  FaultCounter,
  type FaultSettings,
  type PublishedFault,
  pduBits,
  type QueueIdentity,
  ruleCode,
} from './fault-rule.ts';

/** What a tap needs of the core behind it. */
export interface TappedCore {
  receive(memory: Memory, start: number, end: number): void;
  /** Received bytes until the PDU that has begun is whole: 0 between PDUs, -1 while its length is not known. */
  readonly toBoundary: number;
}

/** What a tap asks of whoever moves the bytes. */
export interface TapHooks {
  readonly timers: Timers;
  /** Which thread this is: what is random differs between threads. */
  readonly thread: number;
  /** Something was received, or may be sent, that no call of the owner has caused. */
  moved(): void;
  /** The connection must go, at once or after what is in the outbox has been sent. */
  kill(after: boolean): void;
  killController(): void;
  /** Calls come in pairs, as long as a timer is set. */
  waiting?(yes: boolean): void;
  log(message: string): void;
}

interface Compiled {
  readonly fault: PublishedFault;
  readonly settings: FaultSettings;
  readonly counters: Int32Array;
  readonly pdus: number;
  readonly code: number;
  readonly rng: Rng;
}

/** A PDU that waits. */
interface Held {
  readonly memory: Memory;
  readonly offset: number;
  readonly length: number;
  untilMs: number;
  /** Of a PDU that others overtake: the fault that holds it. */
  readonly stalledBy: number;
}

type Direction = 'h2c' | 'c2h';

/**
 * Stands between a queue and its connection while faults concern it, and does to each PDU what they say: cuts both
 * streams into PDUs, matches each against the rules in their order, and lets the first that hits have its way.
 *
 * The stream in each direction stays a stream: what is delayed delays what follows it. Only a PDU that is stalled is
 * overtaken. What a tap holds is bounded.
 */
export class PduTap {
  readonly #core: TappedCore;
  readonly #hooks: TapHooks;
  #identity: QueueIdentity;
  #rules: Compiled[] = [];
  /** Commands that have been seen to begin, by cid. */
  readonly #codes = new Map<number, number>();
  /** The beginning of a received PDU that is not whole yet. */
  #partial = Memory.alloc(4096);
  #have = 0;
  /** The stream cannot be cut any more: it goes to the core as it is, who will say why. */
  #raw = false;
  #dead = false;
  #draining = false;
  readonly #lines: Record<Direction, Held[]> = { h2c: [], c2h: [] };
  readonly #stalled: Record<Direction, Held[]> = { h2c: [], c2h: [] };
  #heldBytes = 0;
  #cancel: (() => void) | null = null;
  #armedMs = Number.POSITIVE_INFINITY;

  constructor(core: TappedCore, identity: QueueIdentity, hooks: TapHooks) {
    this.#core = core;
    this.#identity = identity;
    this.#hooks = hooks;
  }

  /** Replaces the rules; counters and sequences of those that stay go on. */
  update(faults: readonly PublishedFault[], identity: QueueIdentity): void {
    const before = new Map(this.#rules.map((rule) => [rule.fault.id, rule]));
    const same = identity.qid === this.#identity.qid;
    this.#draining = false; // told to go, and not gone yet
    this.#identity = identity;
    this.#rules = faults.map((fault) => (same ? before.get(fault.id) : undefined) ?? this.#compile(fault));
    for (const direction of ['h2c', 'c2h'] as const) {
      const stalled = this.#stalled[direction];
      const free = stalled.filter(({ stalledBy }) => !faults.some(({ id }) => id === stalledBy));
      if (free.length === 0) continue;
      this.#stalled[direction] = stalled.filter((held) => !free.includes(held));
      this.#lines[direction].push(...free.map((held) => ({ ...held, untilMs: 0 })));
    }
    this.#arm();
  }

  #compile(fault: PublishedFault): Compiled {
    const { settings } = fault;
    const { qid } = this.#identity;
    const seed = (settings.seed ?? 0) + Math.imul(this.#hooks.thread + 1, 0x9e3779b1) + Math.imul(qid + 1, 0x85ebca6b);
    return {
      fault,
      settings,
      counters: new Int32Array(fault.counters),
      pdus: pduBits(settings.pdu),
      code: ruleCode(settings, qid),
      rng: new Rng(seed),
    };
  }

  /** Nothing is held, and the received stream is between two PDUs: the tap can be taken away without a trace. */
  get quiet(): boolean {
    return this.#have === 0 && this.#heldBytes === 0;
  }

  /** Everything that it held has gone on, since it was told to `drain`. */
  get over(): boolean {
    return this.#draining && this.#heldBytes === 0;
  }

  /** Hands the core all that it holds for it and has no rules any more. What it holds for the host goes next. */
  drain(): void {
    this.#draining = true;
    this.#rules = [];
    for (const direction of ['h2c', 'c2h'] as const) {
      for (const held of this.#stalled[direction].splice(0)) this.#lines[direction].push(held);
      for (const held of this.#lines[direction]) held.untilMs = 0;
    }
    this.#feed();
    if (this.#have > 0) this.#core.receive(this.#partial, 0, this.#have);
    this.#have = 0;
  }

  /** The connection is gone. */
  close(): void {
    this.#dead = true;
    this.#disarm();
    for (const direction of ['h2c', 'c2h'] as const) {
      this.#lines[direction].length = 0;
      this.#stalled[direction].length = 0;
    }
    this.#heldBytes = 0;
    this.#have = 0;
  }

  // ---------------------------------------------------------------- from the host

  /** Takes all bytes from `start` to `end`. */
  received(memory: Memory, start: number, end: number): void {
    let from = start;
    while (from < end && !this.#dead) {
      if (this.#raw || this.#draining) return this.#core.receive(memory, from, end);
      if (this.#have === 0 && this.#lines.h2c.length === 0) {
        // A PDU that began before there was a tap goes by as it is.
        const rest = this.#core.toBoundary;
        if (rest !== 0) {
          const take = rest < 0 ? 1 : Math.min(rest, end - from);
          this.#core.receive(memory, from, from + take);
          from += take;
          continue;
        }
      }
      from += this.#collect(memory, from, end);
    }
  }

  /** @returns how many bytes it took */
  #collect(memory: Memory, from: number, end: number): number {
    const want = this.#have < COMMON_HEADER_SIZE ? COMMON_HEADER_SIZE : this.#plen();
    const take = Math.min(want - this.#have, end - from);
    this.#room(want);
    this.#partial.bytes.set(memory.bytes.subarray(from, from + take), this.#have);
    this.#have += take;
    if (this.#have >= COMMON_HEADER_SIZE) {
      const plen = this.#plen();
      if (plen < COMMON_HEADER_SIZE || plen > MAX_FAULT_PDU_BYTES) {
        this.#raw = true;
        const have = this.#have;
        this.#have = 0;
        this.#core.receive(this.#partial, 0, have);
      } else if (this.#have === plen) {
        const pdu = copyOf(this.#partial, 0, plen);
        this.#have = 0;
        this.#decide('h2c', pdu, 0, plen);
        this.#feed();
        this.#arm();
      }
    }
    return take;
  }

  #plen(): number {
    return CommonHeader.plen.get(this.#partial.view, 0);
  }

  #room(bytes: number): void {
    if (bytes <= this.#partial.length) return;
    const larger = Memory.alloc(Math.max(bytes, 2 * this.#partial.length));
    larger.bytes.set(this.#partial.bytes.subarray(0, this.#have));
    this.#partial = larger;
  }

  /** Hands the core what is due. */
  #feed(): void {
    const line = this.#lines.h2c;
    const now = this.#hooks.timers.nowMs();
    while (line.length > 0 && line[0]!.untilMs <= now && !this.#dead) {
      const { memory, offset, length } = line.shift()!;
      this.#heldBytes -= length;
      this.#core.receive(memory, offset, offset + length);
    }
  }

  // ---------------------------------------------------------------- to the host

  /** Puts into the outbox, instead of what the core has said now, what of it and of what was held may go. */
  transmitted(out: Outbox): void {
    if (out.bytes > 0) {
      const said = Memory.over(out.toBytes());
      out.reset();
      let at = 0;
      while (at < said.length && !this.#dead) {
        const plen = CommonHeader.plen.get(said.view, at);
        this.#decide('c2h', said, at, plen);
        at += plen;
      }
    }
    const line = this.#lines.c2h;
    const now = this.#hooks.timers.nowMs();
    while (line.length > 0 && line[0]!.untilMs <= now && out.room(1, 0)) {
      const { memory, offset, length } = line.shift()!;
      this.#heldBytes -= length;
      out.append(memory, offset, length);
    }
    this.#arm();
  }

  /** More may go than fitted into the outbox. */
  get more(): boolean {
    const first = this.#lines.c2h[0];
    return first !== undefined && first.untilMs <= this.#hooks.timers.nowMs();
  }

  // ---------------------------------------------------------------- decisions

  #decide(direction: Direction, memory: Memory, offset: number, length: number): void {
    const type = CommonHeader.pduType.get(memory.view, offset);
    const code = this.#codeOf(type, memory, offset);
    for (const rule of this.#rules) {
      if (type > 31 || (rule.pdus & (1 << type)) === 0 || (rule.code !== -1 && rule.code !== code)) continue;
      if (!applies(rule.settings, memory, offset, length)) continue;
      if (!hits(rule)) continue;
      this.#apply(rule, direction, memory, offset, length);
      return;
    }
    this.#hold(direction, memory, offset, length, 0);
  }

  #codeOf(type: number, memory: Memory, offset: number): number {
    const { view } = memory;
    switch (type) {
      case PduType.CapsuleCmd: {
        const sqe = offset + CAPSULE_CMD_SQE;
        // Of fabrics commands the type stands where others have their nsid.
        const code = commandCode(Sqe.opc.get(view, sqe), Sqe.nsid.get(view, sqe) & 0xff);
        this.#codes.set(Sqe.cid.get(view, sqe), code);
        return code;
      }
      case PduType.CapsuleResp: {
        const cid = Cqe.cid.get(view, offset + CAPSULE_RESP_CQE);
        const code = this.#codes.get(cid) ?? -3;
        this.#codes.delete(cid);
        return code;
      }
      case PduType.H2CData:
      case PduType.C2HData:
      case PduType.R2T:
        return this.#codes.get(R2T.cccid.get(view, offset)) ?? -3;
      default:
        return -3;
    }
  }

  #apply(rule: Compiled, direction: Direction, memory: Memory, offset: number, length: number): void {
    const { settings } = rule;
    const untilMs = this.#hooks.timers.nowMs() + settings.time;
    switch (settings.action) {
      case 'drop':
        return;
      case 'delay':
        return this.#hold(direction, memory, offset, length, untilMs);
      case 'stall':
        return this.#stall(
          direction,
          memory,
          offset,
          length,
          settings.time === 0 ? Number.POSITIVE_INFINITY : untilMs,
          rule.fault.id,
        );
      case 'corrupt': {
        const copy = copyOf(memory, offset, length);
        const [from, to] = partOf(settings.part, copy);
        const bit = rule.rng.below((to - from) * 8);
        copy.bytes[from + (bit >>> 3)]! ^= 1 << (bit & 7);
        return this.#hold(direction, copy, 0, length, 0);
      }
      case 'header-digest':
      case 'data-digest': {
        const copy = copyOf(memory, offset, length);
        const at = settings.action === 'header-digest' ? CommonHeader.hlen.get(copy.view, 0) : length - DIGEST_SIZE;
        copy.bytes[at]! ^= 1 << rule.rng.below(8);
        return this.#hold(direction, copy, 0, length, 0);
      }
      case 'truncate': {
        for (const held of this.#lines[direction]) held.untilMs = 0;
        this.#hold(direction, memory, offset, 1 + rule.rng.below(length - 1), 0);
        if (direction === 'h2c') this.#feed();
        return this.#kill(direction === 'c2h');
      }
      case 'kill-queue':
        return this.#kill(false);
      case 'kill-controller':
        this.#hooks.killController();
        return this.#kill(false);
      default: // of the control plane: never for a queue
        return this.#hold(direction, memory, offset, length, 0);
    }
  }

  #kill(after: boolean): void {
    // What is in the line before it still goes; nothing that comes later does.
    if (!after) this.close();
    this.#raw = true;
    this.#dead = true;
    this.#hooks.kill(after);
  }

  #hold(direction: Direction, memory: Memory, offset: number, length: number, untilMs: number): void {
    // Nobody overtakes: only the head of the line is looked at.
    this.#lines[direction].push({ memory, offset, length, untilMs, stalledBy: 0 });
    this.#count(length);
  }

  #stall(direction: Direction, memory: Memory, offset: number, length: number, untilMs: number, id: number): void {
    this.#stalled[direction].push({ memory, offset, length, untilMs, stalledBy: id });
    this.#count(length);
    this.#arm();
  }

  #count(length: number): void {
    this.#heldBytes += length;
    if (this.#heldBytes <= MAX_FAULT_HELD_BYTES) return;
    this.#hooks.log(
      `faults hold back more than ${MAX_FAULT_HELD_BYTES} bytes of queue ${this.#identity.qid}: it is closed`,
    );
    this.#kill(false);
  }

  // ---------------------------------------------------------------- time

  #next(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const direction of ['h2c', 'c2h'] as const) {
      next = Math.min(next, this.#lines[direction][0]?.untilMs ?? next);
      for (const { untilMs } of this.#stalled[direction]) next = Math.min(next, untilMs);
    }
    return next;
  }

  #arm(): void {
    if (this.#dead) return;
    const next = this.#next();
    if (next === this.#armedMs) return;
    this.#disarm();
    if (next === Number.POSITIVE_INFINITY) return;
    this.#armedMs = next;
    this.#hooks.waiting?.(true);
    this.#cancel = this.#hooks.timers.after(Math.max(0, next - this.#hooks.timers.nowMs()), () => this.#tick());
  }

  #disarm(): void {
    if (this.#cancel === null) return;
    this.#cancel();
    this.#cancel = null;
    this.#armedMs = Number.POSITIVE_INFINITY;
    this.#hooks.waiting?.(false);
  }

  #tick(): void {
    this.#disarm();
    const now = this.#hooks.timers.nowMs();
    for (const direction of ['h2c', 'c2h'] as const) {
      for (const held of this.#stalled[direction].filter(({ untilMs }) => untilMs <= now)) {
        this.#stalled[direction].splice(this.#stalled[direction].indexOf(held), 1);
        this.#lines[direction].push(held);
      }
    }
    this.#feed();
    this.#hooks.moved();
    this.#arm();
  }
}

/** Whether there is in this PDU what the action is about. */
function applies(settings: FaultSettings, memory: Memory, offset: number, length: number): boolean {
  const flags = CommonHeader.flags.get(memory.view, offset);
  switch (settings.action) {
    case 'header-digest':
      return (flags & PduFlag.HDGSTF) !== 0;
    case 'data-digest':
      return (flags & PduFlag.DDGSTF) !== 0;
    case 'corrupt':
      return (
        settings.part !== 'data' ||
        (CommonHeader.pdo.get(memory.view, offset) > 0 && CommonHeader.pdo.get(memory.view, offset) < length)
      );
    case 'truncate':
      return length > 1;
    default:
      return true;
  }
}

function hits({ settings, counters, rng }: Compiled): boolean {
  if (settings.probability < 1 && !rng.chance(settings.probability)) return false;
  if (skipOne(counters, FaultCounter.Skip) || !takeOne(counters, FaultCounter.Left)) return false;
  Atomics.add(counters, FaultCounter.Hits, 1);
  return true;
}

function copyOf(memory: Memory, offset: number, length: number): Memory {
  return Memory.over(memory.bytes.slice(offset, offset + length));
}

function partOf(part: string, pdu: Memory): [number, number] {
  const hlen = Math.min(pdu.length, CommonHeader.hlen.get(pdu.view, 0));
  const pdo = CommonHeader.pdo.get(pdu.view, 0);
  if (part === 'header') return [0, hlen];
  return part === 'data' ? [pdo, pdu.length] : [0, pdu.length];
}
