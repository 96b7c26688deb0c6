import type { ReservationCommand } from '../../src/index.ts';

/*
 * The rules of reservations, told once more and as plainly as possible: a list of registrants that is changed in place,
 * one paragraph per sentence of the specification. Only for tests, which compare it with the real thing.
 */
export interface ModelRegistrant {
  readonly hostid: string;
  key: bigint;
  /** Told by the type that is held: only this one for types 1 to 4, each of them for 5 and 6. */
  holder: boolean;
}

export class ReservationModel {
  registrants: ModelRegistrant[] = [];
  rtype = 0;
  gen = 0n;
  ptpl = false;
  /** `hostid what` of each notification of the last command. */
  told: string[] = [];

  run(hostid: string, command: ReservationCommand): 'ok' | 'conflict' | 'invalid' {
    this.told = [];
    const answer =
      command.kind === 'register'
        ? this.#register(hostid, command)
        : command.kind === 'acquire'
          ? this.#acquire(hostid, command)
          : this.#release(hostid, command);
    return answer;
  }

  #me(hostid: string): ModelRegistrant | undefined {
    return this.registrants.find((registrant) => registrant.hostid === hostid);
  }

  #tell(except: string, what: number): void {
    for (const { hostid } of this.registrants) if (hostid !== except) this.told.push(`${hostid} ${what}`);
  }

  #drop(gone: (registrant: ModelRegistrant) => boolean, preemptor: string | null): void {
    for (const registrant of this.registrants) {
      if (preemptor !== null && gone(registrant) && registrant.hostid !== preemptor) {
        this.told.push(`${registrant.hostid} 1`);
      }
    }
    this.registrants = this.registrants.filter((registrant) => !gone(registrant));
  }

  #hold(rtype: number, hostid: string): void {
    this.rtype = rtype;
    for (const registrant of this.registrants) registrant.holder = rtype >= 5 || registrant.hostid === hostid;
  }

  #unhold(): void {
    this.rtype = 0;
    for (const registrant of this.registrants) registrant.holder = false;
  }

  #register(hostid: string, command: ReservationCommand & { kind: 'register' }): 'ok' | 'conflict' | 'invalid' {
    if (command.rrega > 2 || command.cptpl === 1) return 'invalid';
    const me = this.#me(hostid);
    const keyGood = command.iekey === 1 || (me !== undefined && me.key === command.crkey);
    if (command.rrega === 0) {
      if (me !== undefined && me.key !== command.nrkey) return 'conflict';
      if (me === undefined) this.registrants.push({ hostid, key: command.nrkey, holder: this.rtype >= 5 });
    } else if (command.rrega === 1) {
      if (me === undefined || !keyGood) return 'conflict';
      this.#drop((registrant) => registrant === me, null);
      if (me.holder && !this.registrants.some((registrant) => registrant.holder)) {
        if (this.rtype === 3 || this.rtype === 4) this.#tell(hostid, 2);
        this.#unhold();
      }
    } else {
      if (!keyGood) return 'conflict';
      if (me === undefined) this.registrants.push({ hostid, key: command.nrkey, holder: this.rtype >= 5 });
      else me.key = command.nrkey;
    }
    if (command.cptpl === 2) this.ptpl = false;
    if (command.cptpl === 3) this.ptpl = true;
    this.gen++;
    return 'ok';
  }

  #acquire(hostid: string, command: ReservationCommand & { kind: 'acquire' }): 'ok' | 'conflict' | 'invalid' {
    if (command.iekey === 1 || command.racqa > 2 || command.rtype < 1 || command.rtype > 6) return 'invalid';
    const me = this.#me(hostid);
    if (me === undefined || me.key !== command.crkey) return 'conflict';
    if (command.racqa === 0) {
      if (this.rtype === 0) this.#hold(command.rtype, hostid);
      else if (!me.holder || this.rtype !== command.rtype) return 'conflict';
      return 'ok';
    }
    const before = this.rtype;
    const holder = this.registrants.find((registrant) => registrant.holder);
    if (before >= 5 && command.prkey === 0n) {
      this.#drop((registrant) => registrant !== me, hostid);
      this.#hold(command.rtype, hostid);
    } else if (before >= 1 && before <= 4 && holder!.key === command.prkey) {
      this.#drop((registrant) => registrant !== me && registrant.key === command.prkey, hostid);
      this.#hold(command.rtype, hostid);
      if (before !== command.rtype) this.#tell(hostid, 2);
    } else if (before >= 1 && before <= 4 && command.prkey === 0n) {
      if (!me.holder) return 'invalid';
      this.#hold(command.rtype, hostid);
      if (before !== command.rtype) this.#tell(hostid, 2);
    } else {
      if (!this.registrants.some((registrant) => registrant.key === command.prkey)) return 'conflict';
      this.#drop((registrant) => registrant.key === command.prkey, hostid);
      if (this.registrants.length === 0) this.rtype = 0;
    }
    this.gen++;
    return 'ok';
  }

  #release(hostid: string, command: ReservationCommand & { kind: 'release' }): 'ok' | 'conflict' | 'invalid' {
    if (command.iekey === 1 || command.rrela > 1) return 'invalid';
    const me = this.#me(hostid);
    if (me === undefined || me.key !== command.crkey) return 'conflict';
    if (command.rrela === 1) {
      this.#tell(hostid, 3);
      this.registrants = [];
      this.rtype = 0;
      this.gen++;
      return 'ok';
    }
    if (!me.holder) return 'ok';
    if (command.rtype !== this.rtype) return 'invalid';
    if (this.rtype >= 3) this.#tell(hostid, 2);
    this.#unhold();
    return 'ok';
  }

  /** What a host may do: nothing, read, or all. */
  rights(hostid: string): 'nothing' | 'read' | 'all' {
    const me = this.#me(hostid);
    const like = ['all', 'read', 'nothing', 'read', 'nothing', 'read', 'nothing'] as const;
    if (this.rtype === 0 || me?.holder === true) return 'all';
    if (me !== undefined && this.rtype >= 3) return 'all';
    return like[this.rtype]!;
  }
}
