import { layout, type Names, u8, u32, u64big, type ValueOf } from '../../layout.ts';

/** What a page of the Reservation Notification log is about; 0 when none is available. */
export const ReservationNotification = {
  Empty: 0,
  RegistrationPreempted: 1,
  ReservationReleased: 2,
  ReservationPreempted: 3,
} as const;
export type ReservationNotification = (typeof ReservationNotification)[keyof typeof ReservationNotification];

export const RESERVATION_NOTIFICATION_NAMES: Names = {
  0: 'Empty Log Page',
  1: 'Registration Preempted',
  2: 'Reservation Released',
  3: 'Reservation Preempted',
};

/** Reservation Notification log page (LID 80h; Base 2.1, 5.1.12.1.32): one notification, the oldest that was not read. */
export const ReservationNotificationLog = layout('ReservationNotificationLog', 64, {
  /** Counts the notifications of the controller, with a wrap to 1; 0 in an empty page. */
  lpc: u64big(0),
  rnlpt: u8(8, { names: RESERVATION_NOTIFICATION_NAMES }),
  /** Pages that are available besides this one; 255 also stands for more. */
  nalp: u8(9),
  nsid: u32(12),
});
export type ReservationNotificationLog = ValueOf<typeof ReservationNotificationLog>;
