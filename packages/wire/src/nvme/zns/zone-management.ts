import { bits, layout, type Names, u8, u32, u64, type ValueOf } from '../../layout.ts';
import { sqeHead } from '../sqe.ts';

/** Zone Send Action (ZNS 1.2, 3.4.3). */
export const ZoneSendAction = {
  Close: 0x01,
  Finish: 0x02,
  Open: 0x03,
  Reset: 0x04,
  Offline: 0x05,
  SetDescriptorExtension: 0x10,
  CommitZrwa: 0x11,
} as const;
export type ZoneSendAction = (typeof ZoneSendAction)[keyof typeof ZoneSendAction];

export const ZONE_SEND_ACTION_NAMES: Names = {
  1: 'close',
  2: 'finish',
  3: 'open',
  4: 'reset',
  5: 'offline',
  16: 'set-descriptor-extension',
  17: 'commit-zrwa',
};

/** Zone Management Send (ZNS 1.2, 3.4.3). Data goes with the descriptor extension only. */
export const ZoneManagementSendSqe = layout('ZoneManagementSend', 64, {
  ...sqeHead,
  /** First block of the zone, unless `all`. */
  slba: u64(40),
  zsa: u8(52, { names: ZONE_SEND_ACTION_NAMES }),
  /** Every zone in a state that the action is made for. */
  all: bits(53, 0, 1),
  /** Zone Send Action Specific Option. */
  zsaso: bits(53, 1, 1),
});
export type ZoneManagementSendSqe = ValueOf<typeof ZoneManagementSendSqe>;

/** Zone Receive Action (ZNS 1.2, 3.4.2). */
export const ZoneReceiveAction = { Report: 0x00, ExtendedReport: 0x01 } as const;

/** Which zones a report lists (ZNS 1.2, 3.4.2, reporting options). */
export const ZoneReportOption = {
  All: 0,
  Empty: 1,
  ImplicitlyOpened: 2,
  ExplicitlyOpened: 3,
  Closed: 4,
  Full: 5,
  ReadOnly: 6,
  Offline: 7,
} as const;

/** Zone Management Receive (ZNS 1.2, 3.4.2). */
export const ZoneManagementReceiveSqe = layout('ZoneManagementReceive', 64, {
  ...sqeHead,
  /** A block of the first zone of interest. */
  slba: u64(40),
  /** Dwords to return, 0's based. */
  numd: u32(48),
  zra: u8(52),
  /** Zone Receive Action Specific Field: a `ZoneReportOption`. */
  zrasf: u8(53),
  /** The number of zones in the report counts those that were returned, not all that match. */
  partial: bits(54, 0, 1),
});
export type ZoneManagementReceiveSqe = ValueOf<typeof ZoneManagementReceiveSqe>;
