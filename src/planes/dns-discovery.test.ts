import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { Note } from '../ports.ts';
import {
  DnsDiscovery,
  type DnsDiscoveryGiven,
  type DnsLookup,
  dnsLookup,
} from './dns-discovery.ts';

const { url: _, ...worker } = WorkerConfig.parse({ url: 'http://x', kind: 'vllm' });
const S = 1_000_000;

test('each address is a worker; shuffled it is the same answer, and it is asked again by its TTL', async () => {
  const rig = new Rig({ port: 8000, everyUs: 30 * S });
  rig.answers.a = [
    { address: '10.0.0.2', ttl: 5 },
    { address: '10.0.0.1', ttl: 9 },
  ];
  await rig.watch();
  assert.deepEqual(rig.told, [['http://10.0.0.1:8000', 'http://10.0.0.2:8000']]);
  assert.equal(rig.dueUs, 5 * S);
  rig.answers.a = [
    { address: '10.0.0.1', ttl: 0 },
    { address: '10.0.0.2', ttl: 0 },
  ];
  await rig.pass();
  assert.equal(rig.told.length, 1);
  assert.equal(rig.dueUs, S, 'however short an answer is good for');
  rig.answers.a = [{ address: '10.0.0.3', ttl: 9999 }];
  await rig.pass();
  assert.deepEqual(rig.told.at(-1), ['http://10.0.0.3:8000']);
  assert.equal(rig.dueUs, 30 * S);
});

test('a name server that fails changes nothing; one that says nobody is asked once more before it is believed', async () => {
  const rig = new Rig({});
  rig.answers.a = [{ address: '10.0.0.1', ttl: 60 }];
  await rig.watch();
  for (const code of ['ETIMEOUT', 'ESERVFAIL', 'ECONNREFUSED']) {
    rig.answers.a = code;
    await rig.pass();
  }
  assert.equal(rig.told.length, 1);
  assert.deepEqual(rig.warnings, [
    'llm.internal cannot be resolved (ETIMEOUT); its last addresses stay.',
  ]);
  rig.answers.a = 'ENOTFOUND';
  await rig.pass();
  assert.equal(rig.told.length, 1);
  assert.equal(rig.dueUs, S);
  rig.answers.a = [{ address: '10.0.0.1', ttl: 60 }];
  await rig.pass();
  rig.answers.a = 'ENODATA';
  await rig.pass();
  assert.equal(rig.told.length, 1);
  await rig.pass();
  assert.deepEqual(rig.told.at(-1), []);
  assert.equal(rig.warnings.at(-1), 'llm.internal has no addresses.');
});

test('targets of SRV records have ports of their own; certificates name targets, not addresses', async () => {
  const rig = new Rig({ record: 'srv', scheme: 'https' });
  rig.answers.srv = [
    { name: 'a.llm.internal', port: 1 },
    { name: 'b.llm.internal', port: 2 },
  ];
  rig.answers.a = [{ address: '10.0.0.1', ttl: 60 }];
  await rig.watch();
  assert.deepEqual(rig.told, [
    ['https://10.0.0.1:1 a.llm.internal', 'https://10.0.0.1:2 b.llm.internal'],
  ]);
  // One target that cannot be resolved is no smaller fleet.
  rig.answers.a = 'ESERVFAIL';
  rig.answers.srv = [{ name: 'a.llm.internal', port: 1 }];
  await rig.pass();
  assert.equal(rig.told.length, 1);
  rig.answers.a = 'ENODATA';
  rig.answers.aaaa = [{ address: 'fd00::1', ttl: 60 }];
  await rig.pass();
  assert.deepEqual(rig.told.at(-1), ['https://[fd00::1]:1 a.llm.internal']);
});

test('closed while it waits for an answer, it tells and asks nothing more', async () => {
  const rig = new Rig({});
  rig.answers.a = [{ address: '10.0.0.1', ttl: 60 }];
  const discovery = rig.discovery;
  discovery.watch((found) => rig.hear(found));
  discovery.close();
  await rig.settle();
  assert.deepEqual([rig.told.length, rig.dueUs], [0, undefined]);
});

test('the resolver asks the servers that are named, and takes what they answer', async (t) => {
  const server = createSocket('udp4');
  t.after(() => server.close());
  server.on('message', (question, { port, address }) => {
    server.send(answerTo(question, [127, 0, 0, 9]), port, address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const lookup = dnsLookup([`127.0.0.1:${server.address().port}`]);
  assert.deepEqual(await lookup.resolve4('llm.internal', { ttl: true }), [
    { address: '127.0.0.9', ttl: 7 },
  ]);
});

/** RFC 1035: the question again, and one A record for it with a TTL of 7 s. */
function answerTo(question: Buffer, address: readonly number[]): Buffer {
  const end = question.indexOf(0, 12) + 5;
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(1, 6);
  head.writeUInt32BE(0, 8);
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 7, 0, 4, ...address];
  return Buffer.concat([head, question.subarray(12, end), Buffer.from(record)]);
}

type Answer<T> = T[] | string;

class Rig {
  readonly told: string[][] = [];
  readonly notes: Note[] = [];
  readonly answers: {
    a: Answer<{ address: string; ttl: number }>;
    aaaa: Answer<{ address: string; ttl: number }>;
    srv: Answer<{ name: string; port: number }>;
  } = { a: 'ENODATA', aaaa: 'ENODATA', srv: 'ENODATA' };
  readonly discovery: DnsDiscovery;
  /** How long until it asks again. */
  dueUs: number | undefined;
  #run = () => {};

  constructor(given: Partial<DnsDiscoveryGiven>) {
    const lookup: DnsLookup = {
      resolve4: () => answered(this.answers.a),
      resolve6: () => answered(this.answers.aaaa),
      resolveSrv: () => answered(this.answers.srv),
    };
    this.discovery = new DnsDiscovery({
      ...{ name: 'llm.internal', record: 'a', port: undefined, scheme: 'http', everyUs: 30 * S },
      ...{ worker, lookup, sink: { note: (note: Note) => void this.notes.push(note) } },
      clock: {
        nowUs: () => 0,
        wallMs: () => 0,
        after: (us, run) => {
          this.dueUs = us;
          this.#run = run;
          return () => {
            this.dueUs = undefined;
          };
        },
      },
      ...given,
    });
  }

  get warnings(): string[] {
    return this.notes.flatMap((note) => (note.kind === 'warning' ? [note.sentence] : []));
  }

  hear(found: readonly { config: WorkerConfig }[]): void {
    const words = found.map(({ config: { url, serverName } }) => [url, serverName ?? []].flat());
    this.told.push(words.map((word) => word.join(' ')));
  }

  async watch(): Promise<void> {
    this.discovery.watch((found) => this.hear(found));
    await this.settle();
  }

  async pass(): Promise<void> {
    this.#run();
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

async function answered<T>(answer: Answer<T>): Promise<T[]> {
  if (typeof answer === 'string') throw Object.assign(new Error(answer), { code: answer });
  return answer;
}
