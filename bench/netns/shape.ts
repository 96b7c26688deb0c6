/** What a link does to what goes over it, the same in both directions. */
export interface Shape {
  /** Bits per second. */
  readonly rateBits: number;
  readonly delayMs: number;
  readonly lossPercent: number;
  /** Packets that wait at most, as netem has it. */
  readonly limitPackets: number;
}

/** Packets that netem lets wait unless it is told otherwise. */
const LIMIT_PACKETS = 1000;
const WIRE_PACKET = 1500;
/** More than the largest packet that TCP hands to its device, which so passes whole. */
const TBF_BURST = 70000;

export function cleanShape(rateMbit: number): Shape {
  return { rateBits: rateMbit * 1e6, delayMs: 0, lossPercent: 0, limitPackets: LIMIT_PACKETS };
}

/** As the selftest with loss=1 has it. */
export function lossyShape(rateMbit: number): Shape {
  return { ...cleanShape(rateMbit), delayMs: 5, lossPercent: 0.5 };
}

export function isImpaired({ delayMs, lossPercent }: Shape): boolean {
  return delayMs > 0 || lossPercent > 0;
}

/** Arguments of `tc qdisc add dev … root`. */
export function netemOf({ rateBits, delayMs, lossPercent, limitPackets }: Shape): string[] {
  const args = ['netem', 'limit', String(limitPackets), 'rate', `${rateBits}bit`];
  if (delayMs > 0) args.push('delay', `${delayMs}ms`);
  if (lossPercent > 0) args.push('loss', `${lossPercent}%`);
  return args;
}

/** The same with tbf, which has a rate only. */
export function tbfOf({ rateBits, limitPackets }: Shape): string[] {
  return ['tbf', 'rate', `${rateBits}bit`, 'burst', String(TBF_BURST), 'limit', String(limitPackets * WIRE_PACKET)];
}
