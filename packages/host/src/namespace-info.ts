import { type IdentifyNamespace, lbaFormatIndex, type NamespaceIds } from '@nvbraid/wire';

/** What a controller says about one of its namespaces. */
export interface NamespaceInfo {
  readonly nsid: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  readonly blockCount: number;
  /** Bytes of metadata per block; namespaces with metadata can be looked at, not read or written. */
  readonly metadataSize: number;
  readonly readOnly: boolean;
  readonly identify: IdentifyNamespace;
  /** Identifiers from the descriptor list, or from Identify where there is none. */
  readonly descriptors: NamespaceIds;
}

/** Null when the namespace cannot be used: no capacity, or a block size that makes no sense. */
export function namespaceInfo(
  nsid: number,
  identify: IdentifyNamespace,
  descriptors: NamespaceIds,
): NamespaceInfo | null {
  const format = identify.lbaf[lbaFormatIndex(identify.flbas)]!;
  if (identify.nsze === 0 || !Number.isSafeInteger(identify.nsze) || format.lbads < 9 || format.lbads > 20) return null;
  return {
    nsid,
    blockSize: 2 ** format.lbads,
    blockCount: identify.nsze,
    metadataSize: format.ms,
    readOnly: (identify.nsattr & 1) !== 0,
    identify,
    descriptors,
  };
}

/** The same namespace in the same shape: nobody needs to be told. */
export function sameNamespace(a: NamespaceInfo, b: NamespaceInfo): boolean {
  return JSON.stringify(a, stringify) === JSON.stringify(b, stringify);
}

/**
 * The same disk, if perhaps of another size or write protected: commands for the one may go to the other. Identifiers
 * that only one of them has make them two, and so does a format, after which no block is what it was.
 */
export function sameDisk(a: NamespaceInfo, b: NamespaceInfo): boolean {
  return (
    a.blockSize === b.blockSize &&
    a.metadataSize === b.metadataSize &&
    JSON.stringify(a.descriptors, stringify) === JSON.stringify(b.descriptors, stringify)
  );
}

function stringify(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
