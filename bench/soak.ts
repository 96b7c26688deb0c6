/*
 * npm run soak: a target under many connections, hosts that come and go, and changes of its configuration, for some
 * minutes. Ends with code 1 when its memory grows, when a block is wrong, or when something is left over.
 */
import { parseArgs } from 'node:util';
import { judgementTable, sampleTable } from './soak/memory.ts';
import { soak } from './soak/run.ts';

const USAGE = `usage: npm run soak -- [options]
  --minutes N      how long, default 10
  --connections N  connections that are open at once, default 1000
  --cycles N       times that a host connects and goes, at random points, default 10000
  --seed N         chance follows from it; printed
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    connections: { type: 'string', default: '1000' },
    cycles: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [minutes, connections, cycles, seed] = [values.minutes, values.connections, values.cycles, values.seed].map(
  Number,
);
if (values.help || ![minutes, connections, cycles, seed].every((value) => value !== undefined && value >= 0)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const say = (line: string): void => void process.stdout.write(`${line}\n`);
say(`seed ${seed} (--seed ${seed} repeats it), Node ${process.version}`);
const sampleMs = Math.max(500, Math.min(10_000, (minutes! * 60_000) / 60));
const result = await soak({
  minutes: minutes!,
  connections: connections!,
  cycles: cycles!,
  seed: seed!,
  sampleMs,
  say,
});
say(`${result.cyclesDone} hosts came and went, ${result.verifiedBlocks} blocks were verified\n`);
say(`${sampleTable(result.samples)}\n`);
say(`${judgementTable(result.judgements)}\n`);
for (const [line, count] of result.log) say(`log, ${count} times: ${line}`);
for (const fault of result.faults) say(`FAULT: ${fault}`);
say(result.faults.length === 0 ? 'flat, and every block was right' : 'not well');
process.exitCode = result.faults.length === 0 ? 0 : 1;
