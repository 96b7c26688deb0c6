import { bits, layout, type Names, u8, u16, type ValueOf } from '../../layout.ts';
import { sqeHead } from '../sqe.ts';

/** Controller or Namespace Structure: what an Identify command asks for (Base 2.1, 5.1.13.1). */
export const Cns = {
  Namespace: 0x00,
  Controller: 0x01,
  ActiveNamespaceList: 0x02,
  NamespaceDescriptorList: 0x03,
  NvmSetList: 0x04,
  /** Identify Namespace, specific to the command set in `csi`. */
  CsNamespace: 0x05,
  /** Identify Controller, specific to the command set in `csi`. */
  CsController: 0x06,
  CsActiveNamespaceList: 0x07,
  /** Identify Namespace, independent of command sets. */
  IndependentNamespace: 0x08,
  AllocatedNamespaceList: 0x10,
  AllocatedNamespace: 0x11,
  AttachedControllerList: 0x12,
  ControllerList: 0x13,
  PrimaryControllerCapabilities: 0x14,
  SecondaryControllerList: 0x15,
  NamespaceGranularityList: 0x16,
  UuidList: 0x17,
  DomainList: 0x18,
  EnduranceGroupList: 0x19,
  CsAllocatedNamespaceList: 0x1a,
  CsAllocatedNamespace: 0x1b,
  IoCommandSets: 0x1c,
} as const;

export const CNS_NAMES: Names = Object.fromEntries(Object.entries(Cns).map(([name, value]) => [value, name]));

/** Command Set Identifier. */
export const Csi = { Nvm: 0, KeyValue: 1, Zoned: 2, SubsystemLocalMemory: 3, ComputationalPrograms: 4 } as const;

/** Identify (Base 2.1, 5.1.13). Answers 4096 bytes. */
export const IdentifySqe = layout('Identify', 64, {
  ...sqeHead,
  cns: u8(40, { names: CNS_NAMES }),
  cntid: u16(42),
  /** CNS specific identifier. */
  cnssid: u16(44),
  csi: u8(47),
  uidx: bits(56, 0, 7),
});
export type IdentifySqe = ValueOf<typeof IdentifySqe>;
/** Bytes of every Identify data structure. */
export const IDENTIFY_SIZE = 4096;
