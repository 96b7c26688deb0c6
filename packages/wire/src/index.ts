export * from './fabrics/commands.ts';
export * from './layout.ts';
export * from './nvme/cqe.ts';
export * from './nvme/opcodes.ts';
export * from './nvme/sqe.ts';
export * from './nvme/status.ts';
export * from './tcp/framer.ts';
export * from './tcp/pdu.ts';
