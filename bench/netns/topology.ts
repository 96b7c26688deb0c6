import { newNames, SIDES, type Side } from './names.ts';
import { addNamespace, batch, deleteNamespace, NetnsError, tool } from './own.ts';
import { type LaneStats, Relay } from './relay.ts';
import { hasNetem } from './requirements.ts';
import { isImpaired, netemOf, type Shape, tbfOf } from './shape.ts';

export type Adrfam = 'ipv4' | 'ipv6';

/** What shapes the links. */
export type Shaper = 'netem' | 'tbf' | 'relay';

/** What is lost when a packet is: what TCP hands to its device, up to 64 KiB, or a packet of the wire. */
export type LossUnit = 'segments' | 'packet';

export interface TopologyOptions {
  readonly links: number;
  /** The first so many links have MPTCP endpoints; 0 leaves MPTCP as it is. */
  readonly endpoints: number;
  readonly adrfam: Adrfam;
  readonly shape: Shape;
  /** Links will get a delay or a loss later on. */
  readonly impairedLater?: boolean;
  readonly lossUnit: LossUnit;
  /** Of TCP; null: the first of cubic, which Linux begins with, and reno that the machine allows. */
  readonly congestion: string | null;
  /** Of the losses. */
  readonly seed: number;
}

const SYSCTLS: Readonly<Record<Side, readonly string[]>> = {
  target: ['net.ipv4.tcp_reflect_tos=1'],
  host: [],
};

/**
 * What Linux begins with (since 6.16); namespaces would inherit what the machine's administrator has set. With the 6 MiB of
 * older kernels MPTCP stands still under loss: subflows that go on fill the buffer while one of them repairs its loss.
 */
const COMMON_SYSCTLS = [
  'net.ipv4.tcp_rmem=4096 131072 33554432',
  'net.ipv4.tcp_wmem=4096 16384 4194304',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
];

const ALLOWED = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';

/** Subflows of a connection besides its first one, and addresses of the peer that are used, at most. */
const MPTCP_LIMITS = '8';

/** Two network namespaces with links between them: the topology of the selftest mptcp_nvme.sh. */
export class Topology {
  readonly names = newNames();
  readonly options: TopologyOptions;
  readonly shaper: Shaper;
  #congestion = '';
  #relay: Relay | null = null;

  private constructor(options: TopologyOptions) {
    this.options = options;
    this.shaper = shaperFor(options);
  }

  /** @throws NetnsError, and nothing is left behind */
  static async create(options: TopologyOptions): Promise<Topology> {
    const topology = new Topology(options);
    try {
      await topology.#make();
      return topology;
    } catch (error) {
      await topology.remove().catch(() => {});
      throw error;
    }
  }

  /** How TCP controls congestion. */
  get congestion(): string {
    return this.#congestion;
  }

  /** @param link from 1 on */
  address(side: Side, link: number): string {
    return address(this.options.adrfam, side, link);
  }

  /** `ip netns exec`, the file and its arguments. */
  inside(side: Side, file: string, args: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.names[side], file, ...args]];
  }

  /** Changes what a link does, while it is used. */
  async setShape(link: number, shape: Shape): Promise<void> {
    if (this.#relay !== null) return this.#relay.set(link - 1, shape);
    if (this.shaper === 'tbf' && isImpaired(shape)) throw new NetnsError('tbf has neither delay nor loss');
    for (const side of SIDES) await batch('tc', this.names[side], [this.#shaping(side, link, 'change', shape)]);
  }

  /** The target's end goes down; the host's loses its carrier. Packets that wait are lost. */
  async linkDown(link: number): Promise<void> {
    await batch('ip', this.names.target, [['link', 'set', device('target', link), 'down']]);
  }

  async linkUp(link: number): Promise<void> {
    await batch('ip', this.names.target, [['link', 'set', device('target', link), 'up']]);
  }

  /** What was lost on the way, for each link and direction; null without the relay. */
  async stats(): Promise<readonly LaneStats[] | null> {
    return this.#relay === null ? null : await this.#relay.stats();
  }

  async remove(): Promise<void> {
    await this.#relay?.stop();
    for (const side of SIDES) await deleteNamespace(this.names[side]);
  }

  async #make(): Promise<void> {
    const { links, shape, lossUnit, seed } = this.options;
    for (const side of SIDES) await addNamespace(this.names[side]);
    for (const side of SIDES) this.#congestion = await this.#sysctls(side);
    const numbers = Array.from({ length: links }, (_, i) => i + 1);
    if (this.shaper === 'relay') {
      const devices = numbers.map((link) => ({ target: device('target', link), host: device('host', link) }));
      this.#relay = await Relay.start(seed, lossUnit === 'segments', this.names, devices);
      for (const link of numbers) await this.#relay.set(link - 1, shape);
    } else {
      await batch(
        'ip',
        this.names.target,
        numbers.map((link) => this.#pair(link)),
      );
      const shaped = (side: Side) => numbers.map((link) => this.#shaping(side, link, 'add', shape));
      for (const side of SIDES) await batch('tc', this.names[side], shaped(side));
    }
    for (const side of SIDES) await batch('ip', this.names[side], this.#setUp(side, numbers));
  }

  /** Answers the congestion control. */
  async #sysctls(side: Side): Promise<string> {
    const { endpoints, congestion } = this.options;
    const settings = [...COMMON_SYSCTLS, ...SYSCTLS[side], ...(endpoints > 0 ? ['net.mptcp.enabled=1'] : [])];
    // Not with sysctl(8): it is not everywhere.
    const script = settings.map((setting) => {
      const [name, value] = setting.split('=') as [string, string];
      return `echo '${value}' > /proc/sys/${name.replaceAll('.', '/')}`;
    });
    await this.#script(side, ['set -e', ...script].join('\n'));
    /*
     * Where the machine begins with another one, it may allow cubic to nobody but its first namespace; over these short
     * distances cubic does what reno does.
     */
    const wanted = congestion === null ? ['cubic', 'reno'] : [congestion];
    const file = '/proc/sys/net/ipv4/tcp_congestion_control';
    const tries = wanted.map((name) => `(echo ${name} > ${file}) 2> /dev/null`).join(' || ');
    const said = await this.#script(side, `${tries} || echo refused; cat ${file}; cat ${ALLOWED}`);
    const [first = '', ...others] = said.trim().split('\n');
    if (first !== 'refused') return first;
    throw new NetnsError(`congestion control ${wanted.at(-1)} is none of those allowed here: ${others.at(-1)}`);
  }

  #pair(link: number): string[] {
    const peer = ['peer', 'name', device('host', link), 'netns', this.names.host];
    return ['link', 'add', device('target', link), 'type', 'veth', ...peer];
  }

  /** Addresses, routes and what MPTCP needs. */
  #setUp(side: Side, links: readonly number[]): string[][] {
    const { endpoints, adrfam } = this.options;
    const commands = [['link', 'set', 'lo', 'up']];
    for (const link of links) {
      const dev = ['dev', device(side, link)];
      commands.push(['address', 'add', `${address('ipv4', side, link)}/24`, ...dev]);
      if (adrfam === 'ipv6') commands.push(['address', 'add', `${address('ipv6', side, link)}/64`, ...dev, 'nodad']);
      commands.push(['link', 'set', device(side, link), 'up']);
      // A default route by each link: subflows from every address find a way out.
      const via = ['via', this.address('target', link), ...dev, 'metric', String(link * 10)];
      if (side === 'host') commands.push(['route', 'add', 'default', ...via]);
    }
    if (endpoints === 0) return commands;
    commands.push(['mptcp', 'limits', 'set', 'subflows', MPTCP_LIMITS, 'add_addr_accepted', MPTCP_LIMITS]);
    for (const link of links.slice(0, endpoints)) {
      const where = [this.address(side, link), 'dev', device(side, link)];
      commands.push(['mptcp', 'endpoint', 'add', ...where, side === 'target' ? 'signal' : 'subflow']);
    }
    return commands;
  }

  #shaping(side: Side, link: number, verb: 'add' | 'change', shape: Shape): string[] {
    const how = this.shaper === 'netem' ? netemOf(shape) : tbfOf(shape);
    return ['qdisc', verb, 'dev', device(side, link), 'root', ...how];
  }

  #script(side: Side, script: string): Promise<string> {
    const [file, args] = this.inside(side, 'sh', ['-c', script]);
    return tool(file, ...args);
  }
}

function shaperFor({ shape, impairedLater = false, lossUnit }: TopologyOptions): Shaper {
  // netem loses what TCP hands to the device.
  if (hasNetem() && lossUnit === 'segments') return 'netem';
  return isImpaired(shape) || impairedLater ? 'relay' : 'tbf';
}

function device(side: Side, link: number): string {
  return `${side === 'target' ? 'ns1' : 'ns2'}eth${link}`;
}

function address(adrfam: Adrfam, side: Side, link: number): string {
  const last = side === 'target' ? 1 : 2;
  return adrfam === 'ipv4' ? `10.1.${link}.${last}` : `dead:beef:${link}::${last}`;
}
