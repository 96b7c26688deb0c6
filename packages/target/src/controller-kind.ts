import { type CommandEffects, type FeatureEffects, Scope } from '@nvbraid/wire';
import type { Controller } from './controller.ts';
import type { Namespace } from './namespace.ts';
import type { Request } from './request.ts';

/** An admin command: a row of a controller kind's table. The effects log is made from the table. */
export interface AdminCommand {
  readonly effects: Partial<CommandEffects>;
  /** Bounds `request.dataLength`; a status other than 0 ends the command. Absent: the command moves no data. */
  admit?(controller: Controller, request: Request): number;
  /** Answers a status other than 0 instead of completing the request itself. */
  run(controller: Controller, request: Request): number;
}

/** Effects of a command that changes nothing but the controller it is sent to. */
export const CONTROLLER_COMMAND: Partial<CommandEffects> = { csupp: 1, csp: Scope.Controller };

/** The bytes to return, or a status other than 0. */
export type Page = Uint8Array | number;

export interface LogPage {
  /** What LID 00h says of parameters of this page. Default 0. */
  readonly lidsp?: number;
  /** Tells about the one namespace that the command names, and events about the page are those of that namespace. */
  readonly perNamespace?: boolean;
  page(controller: Controller, request: Request): Page;
  /** Called once the page, or a part of it, was returned. */
  returned?(controller: Controller, request: Request): void;
  /** Called once the page was read without RAE; events that it raises come out again. */
  read?(controller: Controller, nsid: number): void;
}

/** A feature whose value is one dword. */
export interface Feature {
  readonly effects: Partial<FeatureEffects>;
  readonly namespaceSpecific?: boolean;
  readonly changeable?: boolean;
  /** Get Features returns the value as data instead of in dword 0. @param current false: the default */
  data?(controller: Controller, current: boolean): Uint8Array;
  /** Bytes that Set Features brings; `take` then replaces `set`. */
  readonly inputBytes?: number;
  /** Takes the value that lies at `base` of `view`. @returns status */
  take?(controller: Controller, view: DataView, base: number): number;
  /**
   * Refuses selectors in dword 11, for Get Features (`setting` false) and Set Features.
   * @param namespaces of a namespace specific feature: the one that is named, or all
   */
  check?(controller: Controller, dw11: number, setting: boolean, namespaces: readonly Namespace[]): number;
  initial(controller: Controller, dw11: number): number;
  /** @param namespace null unless the feature is namespace specific; may then be null for what no namespace changes */
  current(controller: Controller, dw11: number, namespace: Namespace | null): number;
  /**
   * Takes a new value. Absent: the feature cannot be changed, and Set Features succeeds only with its current value.
   * @returns status
   */
  set?(controller: Controller, dw11: number, namespaces: readonly Namespace[]): number;
  /** In place of `set`, for values that must be made stable first: calls `done` once, now or later, with a status. */
  setLater?(
    controller: Controller,
    dw11: number,
    namespaces: readonly Namespace[],
    done: (status: number) => void,
  ): void;
  /** Set Features answers the new value in dword 0. */
  readonly answersSet?: boolean;
}

/** What a kind of controller can do, as tables: commands, Identify structures, features and log pages by identifier. */
export interface ControllerKind {
  readonly name: 'io' | 'discovery';
  readonly commands: ReadonlyMap<number, AdminCommand>;
  readonly identify: ReadonlyMap<number, (controller: Controller, request: Request) => Page>;
  readonly features: ReadonlyMap<number, Feature>;
  readonly logPages: ReadonlyMap<number, LogPage>;
  /** Effects of the commands that its I/O queues run, by command set (CSI) and opcode. */
  readonly ioEffects: ReadonlyMap<number, ReadonlyMap<number, Partial<CommandEffects>>>;
  /** Bits that the Asynchronous Event Configuration feature may have. */
  readonly asyncEvents: number;
}
