import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { hostIdentity } from '../src/host-identity.ts';
import { readNvmeFiles } from '../src/nvme-files/nvme-files.ts';

const directory = mkdtempSync(join(tmpdir(), 'nvbraid-nvme-'));
after(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
});

function write(name: string, content: string | Uint8Array): void {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

const NQN = 'nqn.2026-01.io.nvbraid:box:disk';

describe('files of nvme-cli', () => {
  test('none', () => {
    const none = { discovery: [], subsystems: [], files: [], notes: [] };
    assert.deepEqual(readNvmeFiles(directory), none);
    assert.deepEqual(readNvmeFiles(join(directory, 'nowhere')), none);
  });

  test('discovery.conf: all spellings of options, comments, what we do not have', () => {
    write(
      'discovery.conf',
      [
        '# Used for extracting default parameters for discovery',
        '#',
        '',
        '--transport=tcp --traddr=192.168.0.7 --trsvcid=8009 --host-traddr=192.168.0.1',
        '-t tcp -a fd00::7 -s8010 -gG -k 7 --persistent  # the other fabric\r',
        '-t rdma -a 192.168.0.8 -s 4420',
        '-t tcp -a 192.168.0.9 --dhchap-secret DHHC-1:00:abc:',
      ].join('\n'),
    );
    const { discovery, notes, files } = readNvmeFiles(directory);
    assert.deepEqual(discovery, [
      { transport: 'tcp', traddr: '192.168.0.7', trsvcid: 8009, hostTraddr: '192.168.0.1' },
      { transport: 'tcp', traddr: 'fd00::7', trsvcid: 8010, hdrDigest: true, dataDigest: true, keepAliveTmo: 7 },
    ]);
    const path = join(directory, 'discovery.conf');
    assert.deepEqual(notes, [
      `${path}:6: left out, transport rdma is not supported`,
      `${path}:7: left out, authentication is not supported`,
    ]);
    assert.deepEqual(files, [path]);
  });

  for (const [line, said] of [
    ['hello', /discovery\.conf:2: "hello" is no option/],
    ['-t tcp -s 8009', /discovery\.conf:2: the address \(traddr\) is missing/],
    ['-a 1.2.3.4 -s 99999', /discovery\.conf:2: trsvcid is a whole number from 1 to 65535/],
    ['-a 1.2.3.4 -s', /discovery\.conf:2: trsvcid has no value/],
    ['-a 1.2.3.4 --frobnicate', /discovery\.conf:2: "--frobnicate" is no option/],
    ['-a \x1b[2Jevil', /discovery\.conf:2: traddr is a word of printable characters: "\\u001b/],
    ['--__proto__=1 -a 1.2.3.4', /discovery\.conf:2: "--__proto__=1" is no option/],
    [`-a ${'1'.repeat(5000)}`, /discovery\.conf:2: traddr is a word/],
  ] as const) {
    test(`discovery.conf: ${JSON.stringify(line.slice(0, 40))} is refused`, () => {
      write('discovery.conf', `# one\n${line}\n`);
      assert.throws(() => readNvmeFiles(directory), { code: 'EINVAL', message: said });
    });
  }

  test('config.json: hosts, subsystems, ports, and a discovery controller among them', () => {
    const port = {
      transport: 'tcp',
      traddr: '192.168.0.7',
      trsvcid: '4420',
      nr_io_queues: 4,
      tos: -1,
      hdr_digest: true,
    };
    const second = { transport: 'tcp', traddr: '192.168.1.7', dhchap_key: 'none', ctrl_loss_tmo: -1, color: 'blue' };
    const discovery = { transport: 'tcp', traddr: '192.168.0.9', trsvcid: '8009', persistent: true, discovery: true };
    const hostnqn = 'nqn.2014-08.org.nvmexpress:uuid:befdec4c-2234-11b2-a85c-ca77c773af36';
    const subsystems = [
      { nqn: NQN, ports: [port, second] },
      { nqn: 'nqn.2014-08.org.nvmexpress.discovery', ports: [discovery] },
    ];
    write('config.json', JSON.stringify([{ hostnqn, subsystems }], null, 2));
    const files = readNvmeFiles(directory);
    assert.deepEqual(
      files.discovery.map(({ traddr, trsvcid }) => [traddr, trsvcid]),
      [['192.168.0.9', 8009]],
    );
    assert.equal(files.subsystems.length, 1);
    const [one, other] = files.subsystems[0]!.paths;
    assert.deepEqual(one, {
      hostnqn,
      transport: 'tcp',
      traddr: '192.168.0.7',
      trsvcid: 4420,
      nrIoQueues: 4,
      hdrDigest: true,
    });
    assert.equal(other!.ctrlLossTmo, -1);
    assert.match(files.notes.join(), /\[0\]\.subsystems\[0\]\.ports\[1\]: "color" is not known/);
    assert.equal(files.notes.length, 1, 'a key that is none is no key');
  });

  for (const [text, said] of [
    ['[{"hostnqn": "nqn.x",\n "subsystems": [{"nq', /config\.json:2: this is not JSON/],
    ['{}', /config\.json: the hosts are not a list/],
    ['[7]', /config\.json: \[0\] is not an object/],
    ['[{"subsystems":[{"ports":[]}]}]', /\[0\]\.subsystems\[0\]: nqn is a word/],
    ['[{"subsystems":[{"nqn":"nqn.x","ports":[{"trsvcid":"x"}]}]}]', /ports\[0\]: trsvcid is a whole number/],
    ['[{"subsystems":[{"nqn":"nqn.x","ports":[{"__proto__":1}]}]}]', /ports\[0\]: the address \(traddr\) is missing/],
    ['['.repeat(200_000), /config\.json:1: this is not JSON/],
  ] as const) {
    test(`config.json: ${text.slice(0, 60)} is refused`, () => {
      write('config.json', text);
      assert.throws(() => readNvmeFiles(directory), { code: 'EINVAL', message: said });
    });
  }

  test('nvme-fabrics.conf: a line before its section before the host before the defaults', () => {
    write(
      'nvme-fabrics.conf',
      [
        '[Host]',
        'hostnqn = nqn.2026-01.host:one',
        '[I/O Controller Defaults]',
        'keep-alive-tmo = 9',
        'nr-io-queues = 2',
        'host-iface = eth9',
        '[Discovery Controller]',
        'controller = transport=tcp;traddr=192.168.0.9;trsvcid=8009',
        '[Subsystem]',
        `nqn = ${NQN}`,
        'nr-io-queues = 4',
        'host-iface =',
        'controller = transport=tcp;traddr=192.168.0.7;trsvcid=4420',
        'controller = transport=tcp;traddr=192.168.1.7;trsvcid=4420;nr-io-queues=8',
      ].join('\n'),
    );
    write('nvme-fabrics.conf.d/more.conf', '[Discovery Controller]\ncontroller = traddr=192.168.0.10\n');
    const { discovery, subsystems } = readNvmeFiles(directory);
    assert.deepEqual(
      discovery.map(({ traddr }) => traddr),
      ['192.168.0.9', '192.168.0.10'],
    );
    const common = { hostnqn: 'nqn.2026-01.host:one', keepAliveTmo: 9, transport: 'tcp', trsvcid: 4420 };
    assert.deepEqual(subsystems, [
      {
        nqn: NQN,
        paths: [
          { ...common, traddr: '192.168.0.7', nrIoQueues: 4 },
          { ...common, traddr: '192.168.1.7', nrIoQueues: 8 },
        ],
      },
    ]);
    write('nvme-fabrics.conf', '[Subsystem]\nnqn = nqn.x\ncontrolle = x\n');
    assert.throws(() => readNvmeFiles(directory), /nvme-fabrics\.conf:3: "controlle" is no option/);
    write('nvme-fabrics.conf', '[Nonsense]\n');
    assert.throws(() => readNvmeFiles(directory), /nvme-fabrics\.conf:1: there is no section/);
  });

  test('too long, not text, no file', () => {
    write('discovery.conf', Buffer.alloc((1 << 20) + 1, '#'));
    assert.throws(() => readNvmeFiles(directory), /has more than 1048576 bytes/);
    write('discovery.conf', Uint8Array.of(0x23, 0xff, 0xfe));
    assert.throws(() => readNvmeFiles(directory), /is not text in UTF-8/);
    rmSync(join(directory, 'discovery.conf'));
    execFileSync('mkfifo', [join(directory, 'discovery.conf')]);
    assert.throws(() => readNvmeFiles(directory), /is not a file/);
    rmSync(join(directory, 'discovery.conf'));
    write('discovery.conf', '-a 1.2.3.4\n'.repeat(1025));
    assert.throws(() => readNvmeFiles(directory), /discovery\.conf:1025: there are more than 1024 controllers/);
  });
});

describe('hostnqn and hostid', () => {
  const uuid = 'befdec4c-2234-11b2-a85c-ca77c773af36';
  const nqn = `nqn.2014-08.org.nvmexpress:uuid:${uuid}`;
  process.env.NVBRAID_NVME_DIR = directory;

  test('as nvme-cli has set them up; an empty file counts as none', () => {
    write('hostnqn', `${nqn}\n`);
    assert.deepEqual(hostIdentity({}), { hostnqn: nqn, hostid: uuid });
    write('hostid', '11111111-2234-11b2-a85c-ca77c773af36\n');
    assert.equal(hostIdentity({}).hostid, '11111111-2234-11b2-a85c-ca77c773af36');
    write('hostnqn', '');
    assert.match(hostIdentity({}).hostnqn, /^nqn\.2014-08\.org\.nvmexpress:uuid:/);
  });

  test('something else in them is refused, unless the host is named', () => {
    write('hostnqn', 'my host\n');
    assert.throws(() => hostIdentity({}), { code: 'EINVAL', message: /hostnqn:1: this is no NQN/ });
    assert.equal(hostIdentity({ hostnqn: nqn }).hostid, uuid);
    write('hostnqn', `${nqn}\n`);
    write('hostid', 'x'.repeat(5000));
    assert.throws(() => hostIdentity({}), { code: 'EINVAL', message: /hostid has more than 4096 bytes/ });
  });
});
