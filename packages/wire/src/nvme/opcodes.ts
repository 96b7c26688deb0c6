import type { Names } from '../layout.ts';

/** Admin command set (Base 2.1, 3.1.3.4). */
export const AdminOpcode = {
  DeleteIoSq: 0x00,
  CreateIoSq: 0x01,
  GetLogPage: 0x02,
  DeleteIoCq: 0x04,
  CreateIoCq: 0x05,
  Identify: 0x06,
  Abort: 0x08,
  SetFeatures: 0x09,
  GetFeatures: 0x0a,
  AsyncEventRequest: 0x0c,
  NamespaceManagement: 0x0d,
  FirmwareCommit: 0x10,
  FirmwareImageDownload: 0x11,
  DeviceSelfTest: 0x14,
  NamespaceAttachment: 0x15,
  KeepAlive: 0x18,
  DirectiveSend: 0x19,
  DirectiveReceive: 0x1a,
  VirtualizationManagement: 0x1c,
  NvmeMiSend: 0x1d,
  NvmeMiReceive: 0x1e,
  CapacityManagement: 0x20,
  DiscoveryInformationManagement: 0x21,
  FabricZoningReceive: 0x22,
  Lockdown: 0x24,
  FabricZoningLookup: 0x25,
  FabricZoningSend: 0x29,
  DoorbellBufferConfig: 0x7c,
  Fabrics: 0x7f,
  FormatNvm: 0x80,
  SecuritySend: 0x81,
  SecurityReceive: 0x82,
  Sanitize: 0x84,
  GetLbaStatus: 0x86,
} as const;

export const ADMIN_OPCODE_NAMES: Names = {
  0: 'Delete I/O Submission Queue',
  1: 'Create I/O Submission Queue',
  2: 'Get Log Page',
  4: 'Delete I/O Completion Queue',
  5: 'Create I/O Completion Queue',
  6: 'Identify',
  8: 'Abort',
  9: 'Set Features',
  10: 'Get Features',
  12: 'Asynchronous Event Request',
  13: 'Namespace Management',
  16: 'Firmware Commit',
  17: 'Firmware Image Download',
  20: 'Device Self-test',
  21: 'Namespace Attachment',
  24: 'Keep Alive',
  25: 'Directive Send',
  26: 'Directive Receive',
  28: 'Virtualization Management',
  29: 'NVMe-MI Send',
  30: 'NVMe-MI Receive',
  32: 'Capacity Management',
  33: 'Discovery Information Management',
  34: 'Fabric Zoning Receive',
  36: 'Lockdown',
  37: 'Fabric Zoning Lookup',
  41: 'Fabric Zoning Send',
  124: 'Doorbell Buffer Config',
  127: 'Fabrics',
  128: 'Format NVM',
  129: 'Security Send',
  130: 'Security Receive',
  132: 'Sanitize',
  134: 'Get LBA Status',
};

/** I/O commands of all command sets and of the NVM and Zoned ones (Base 2.1, 3.1.3.5; NVM 1.1, 3.2; ZNS 1.2, 3.4). */
export const IoOpcode = {
  Flush: 0x00,
  Write: 0x01,
  Read: 0x02,
  WriteUncorrectable: 0x04,
  Compare: 0x05,
  WriteZeroes: 0x08,
  DatasetManagement: 0x09,
  Verify: 0x0c,
  ReservationRegister: 0x0d,
  ReservationReport: 0x0e,
  ReservationAcquire: 0x11,
  IoManagementReceive: 0x12,
  ReservationRelease: 0x15,
  Cancel: 0x18,
  Copy: 0x19,
  IoManagementSend: 0x1d,
  ZoneManagementSend: 0x79,
  ZoneManagementReceive: 0x7a,
  ZoneAppend: 0x7d,
  Fabrics: 0x7f,
} as const;

export const IO_OPCODE_NAMES: Names = {
  0: 'Flush',
  1: 'Write',
  2: 'Read',
  4: 'Write Uncorrectable',
  5: 'Compare',
  8: 'Write Zeroes',
  9: 'Dataset Management',
  12: 'Verify',
  13: 'Reservation Register',
  14: 'Reservation Report',
  17: 'Reservation Acquire',
  18: 'I/O Management Receive',
  21: 'Reservation Release',
  24: 'Cancel',
  25: 'Copy',
  29: 'I/O Management Send',
  121: 'Zone Management Send',
  122: 'Zone Management Receive',
  125: 'Zone Append',
  127: 'Fabrics',
};

/** Fabrics command types, in the byte where other commands have their nsid (Base 2.1, 6). */
export const FabricsType = {
  PropertySet: 0x00,
  Connect: 0x01,
  PropertyGet: 0x04,
  AuthenticationSend: 0x05,
  AuthenticationReceive: 0x06,
  Disconnect: 0x08,
} as const;

export const FABRICS_TYPE_NAMES: Names = {
  0: 'Property Set',
  1: 'Connect',
  4: 'Property Get',
  5: 'Authentication Send',
  6: 'Authentication Receive',
  8: 'Disconnect',
};

/** E.g. `Write Zeroes`, `Connect`, `opcode 42h`. @param fctype the command type, of fabrics commands */
export function opcodeName(opcode: number, admin: boolean, fctype = -1): string {
  const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0') + 'h';
  if (opcode === IoOpcode.Fabrics && fctype >= 0) return FABRICS_TYPE_NAMES[fctype] ?? `fabrics type ${hex(fctype)}`;
  return (admin ? ADMIN_OPCODE_NAMES : IO_OPCODE_NAMES)[opcode] ?? `opcode ${hex(opcode)}`;
}
