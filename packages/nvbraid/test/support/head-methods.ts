import { NvbraidError } from '@nvbraid/base';
import type { MakeHeadMethods } from '../../src/head-worker-messages.ts';

/* A module of methods as head threads load it. */

export const headMethods: MakeHeadMethods = (subsystem) => ({
  describe: () => ({
    iopolicy: subsystem.iopolicy,
    controllers: subsystem.controllers.map((controller) => subsystem.controllerName(controller)),
    ports: subsystem.controllers.map(({ place }) => place!.trsvcid),
  }),
  refuse: ({ why }) => {
    throw new NvbraidError('EBUSY', String(why), { context: { lucky: 7 } });
  },
});
