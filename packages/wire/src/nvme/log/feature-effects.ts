import { bits, layout, type ValueOf } from '../../layout.ts';

/** FID Supported and Effects data structure (Base 2.1, 5.1.12.1.18), one per feature identifier. */
export const FeatureEffects = layout('FeatureEffects', 4, {
  /** The feature is supported. */
  fsupp: bits(0, 0, 1, 4),
  /** Setting it may change user data content, namespace capability, namespace inventory, controller capability. */
  udcc: bits(0, 1, 1, 4),
  ncc: bits(0, 2, 1, 4),
  nic: bits(0, 3, 1, 4),
  ccc: bits(0, 4, 1, 4),
  /** UUID selection supported. */
  uss: bits(0, 19, 1, 4),
  /** Feature scope: `Scope`. */
  fsp: bits(0, 20, 12, 4),
});
export type FeatureEffects = ValueOf<typeof FeatureEffects>;

/** Scope of a feature or a command: csp of `CommandEffects`, fsp of `FeatureEffects`. */
export const Scope = {
  Namespace: 1,
  Controller: 2,
  NvmSet: 4,
  EnduranceGroup: 8,
  Domain: 0x10,
  NvmSubsystem: 0x20,
} as const;

/** Bytes of the Feature Identifiers Supported and Effects log page (LID 12h): 256 entries. */
export const FEATURE_EFFECTS_SIZE = 1024;

/** The log page with these features. Others are not supported. */
export function featureEffects(features: ReadonlyMap<number, Partial<FeatureEffects>>): Uint8Array {
  const log = new Uint8Array(FEATURE_EFFECTS_SIZE);
  const view = new DataView(log.buffer);
  for (const [fid, effects] of features) FeatureEffects.emit(view, 4 * (fid & 0xff), effects);
  return log;
}

/** The features whose fsupp bit is set, as far as `log` reaches. */
export function parseFeatureEffects(log: Uint8Array): Map<number, FeatureEffects> {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const features = new Map<number, FeatureEffects>();
  for (let fid = 0; fid < 256 && 4 * fid + 4 <= log.length; fid++) {
    if (FeatureEffects.fsupp.get(view, 4 * fid) === 1) features.set(fid, FeatureEffects.parse(view, 4 * fid));
  }
  return features;
}
