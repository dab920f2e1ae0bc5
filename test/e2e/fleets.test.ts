/**
 * A fleet that changes under load: by its configuration, by a list that somebody else writes, and by what a
 * Kubernetes API says. Nobody who asks sees any of it.
 */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { WorkerSnapshot } from '../../src/gateway/state.ts';
import { CA_FILE, FakeKubernetes } from '../../src/planes/fake-kubernetes.test.ts';
import { introduction, standIn } from '../engine-stand-in.ts';
import { post, streamChat } from './client.ts';
import { expectations, load, scriptRules, type Tally } from './failure-load.ts';
import { demoModel, FOLDER, Stack, scripted, startWorker, until, write } from './stack.ts';

const CLIENTS = 16;

test('workers come, change, drain and go under load, and no answer is lost or another', async (t) => {
  const fleet = await Fleet.start(t);
  const { stack, worker, kubernetes } = fleet;
  fleet.list(['b']);
  fleet.configure(`workers: [{url: '${worker('a')}'}]`, fleet.fromFile);
  await fleet.serve();
  await fleet.has('a b');
  const expected = await expectations(stack().url);
  const steps: Record<string, () => Promise<void>> = {
    'one more in the list': async () => {
      fleet.list(['b', 'c']);
      await fleet.has('a b c');
    },
    'a half-written list': async () => {
      write('workers.yaml', `- {url: '${worker('b')}'}\n- {ur`);
      await until('it says so', () => stack().stderr.includes('those that were there last stay'));
      await fleet.has('a b c');
      fleet.list(['b', 'c']);
    },
    'a cluster beside it, and one fewer in the configuration': async () => {
      kubernetes.put('llm-d', fleet.pod('d', { ready: true }));
      fleet.configure(fleet.fromFile, fleet.fromKubernetes);
      await fleet.has('b c d');
    },
    'a pod that is not ready for a while, and an API that breaks off': async () => {
      kubernetes.put('llm-d', fleet.pod('d', { ready: false }));
      await until('d is idle', async () => {
        const { draining, requests } = await fleet.one('d');
        return draining && requests === 0;
      });
      kubernetes.cut();
      await until('it is watched again', () => kubernetes.watches === 1);
      kubernetes.put('llm-d', fleet.pod('d', { ready: true }));
      await until('d is ready', async () => !(await fleet.one('d')).draining);
      const messages = [{ role: 'user', content: 'Tell me story 1 please' }];
      const there = { model: 'demo', messages, nvext: { routing: { worker: 'd' } } };
      assert.equal((await post(`${stack().url}/v1/chat/completions`, there)).status, 200);
    },
    'a configuration with a mistake': async () => {
      fleet.configure('workers: []', 'polcy: sticky');
      await until('it says so', () => stack().stderr.includes('Nothing was changed'));
      await fleet.has('b c d');
    },
    'other settings for one, read when told to': async () => {
      const b = `{url: '${worker('b')}', labels: {zone: x}}`;
      fleet.configure(`workers: [{url: '${worker('a')}'}, ${b}]`, fleet.fromKubernetes);
      stack().child.kill('SIGHUP');
      await fleet.has('a b d');
    },
    'a pod that terminates': async () => {
      kubernetes.put('llm-d', fleet.pod('d', { ready: false, terminating: true }));
      await fleet.has('a b');
    },
  };
  let isOver = false;
  let tally: Tally | undefined;
  const under = load(stack().url, { clients: CLIENTS, expected, until: () => isOver });
  try {
    for (const [name, step] of Object.entries(steps)) {
      t.diagnostic(name);
      await step();
    }
  } finally {
    isOver = true;
    tally = await under;
  }
  t.diagnostic(`${tally.answers} answers`);
  assert.deepEqual([tally.failed, tally.hung, tally.different], [[], [], []]);
  assert.ok(tally.answers > CLIENTS, 'there was load');
  assert.match(stack().stdout, /was read again: discovery\./);
});

test('keys, names and policy change with the file; what cannot is said', async (t) => {
  const fleet = await Fleet.start(t, ['a']);
  const a = `workers: [{url: '${fleet.worker('a')}'}]`;
  fleet.configure(a);
  await fleet.serve();
  await fleet.has('a');
  const { stack } = fleet;
  const ask = async (model: string, headers: Record<string, string> = {}) => {
    const messages = [{ role: 'user', content: 'Tell me story 1 please' }];
    return (await post(`${stack().url}/v1/chat/completions`, { model, messages }, headers)).status;
  };
  assert.deepEqual([await ask('demo'), await ask('gpt-x')], [200, 404]);
  const key = 'secret-of-tests';
  stack().adminHeaders = { authorization: `Bearer ${key}` };
  fleet.configure(
    a,
    `keys: [{key: ${key}, tenant: t, admin: true}]`,
    'policy: sticky',
    'seed: 7',
    ...['models:', '  - {name: demo, aliases: [gpt-x]}'],
  );
  await until('it was read', () => stack().stdout.includes('was read again'));
  assert.match(stack().stdout, /again: keys, models, policy; only a restart changes .*seed/);
  assert.deepEqual([await ask('demo'), await ask('gpt-x', stack().adminHeaders)], [401, 200]);
  assert.equal((await stack().snapshot()).policy, 'sticky');
});

test('what no other engine can go on with ends where it runs, though its worker is named no more', async (t) => {
  const engine = await standIn(t, introduction('openai'));
  const hosted = `{url: '${engine.url}', kind: openai, engineModel: gpt-5.1, model: big}`;
  const fleet = await Fleet.start(t, ['a']);
  const a = `{url: '${fleet.worker('a')}'}`;
  fleet.configure(`workers: [${a}, ${hosted}]`);
  await fleet.serve();
  const { stack } = fleet;
  await until('both are up', async () => (await stack().snapshot()).workers.length === 2);
  let response: ServerResponse | undefined;
  engine.answer = (asked) => {
    response = asked.response;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk({ delta: { content: 'Once upon' } }));
  };
  let text = '';
  const body = { model: 'big', messages: [{ role: 'user', content: 'Hello' }] };
  const onText = (piece: string) => {
    text += piece;
  };
  const answer = streamChat(stack().url, body, { onText });
  await until('it says something', () => text !== '');
  fleet.configure(`workers: [${a}]`);
  const onBig = async () => {
    const { workers } = await stack().snapshot();
    return workers.find(({ about }) => about.url === engine.url);
  };
  await until('it leaves', async () => (await onBig())?.draining === true);
  // Longer than `drainUs`, after which what can go on elsewhere does.
  await new Promise((resolve) => setTimeout(resolve, 800));
  assert.equal((await onBig())?.requests, 1);
  response?.write(chunk({ delta: { content: ' a time.' } }));
  response?.end(`${chunk({ delta: {}, finish_reason: 'stop' })}data: [DONE]\n\n`);
  const { broken, errors, finish } = await answer;
  assert.deepEqual([text, broken, errors, finish], ['Once upon a time.', false, [], 'stop']);
  await until('it is gone', async () => (await onBig()) === undefined);
});

function chunk(choice: object): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`;
}

class Fleet {
  readonly kubernetes: FakeKubernetes;
  readonly fromFile: string;
  readonly fromKubernetes: string;
  readonly #urls: ReadonlyMap<string, string>;
  readonly #model: string;
  #stack: Stack | undefined;

  static async start(t: TestContext, names = ['a', 'b', 'c', 'd']): Promise<Fleet> {
    const flags = scripted(scriptRules());
    const urls = new Map<string, string>();
    for (const name of names) urls.set(name, (await startWorker(flags)).card.url);
    return new Fleet(await FakeKubernetes.start(t), urls, await demoModel());
  }

  constructor(kubernetes: FakeKubernetes, urls: ReadonlyMap<string, string>, model: string) {
    this.kubernetes = kubernetes;
    this.#urls = urls;
    this.#model = model;
    mkdirSync(join(FOLDER, 'account'), { recursive: true });
    const tokenFile = write('account/token', kubernetes.token);
    this.fromFile = `  - {from: file, path: '${join(FOLDER, 'workers.yaml')}', everyUs: 100000}`;
    const asked = `server: '${kubernetes.url}', tokenFile: '${tokenFile}', ca: '${CA_FILE}'`;
    this.fromKubernetes = `  - {from: kubernetes, service: llm, namespace: prod, ${asked}}`;
  }

  readonly stack = (): Stack => this.#stack ?? assert.fail('it serves');

  readonly worker = (name: string): string => this.#urls.get(name) ?? assert.fail(name);

  /** Lines of the file; those of `discovery:` begin with a dash. */
  configure(...lines: string[]): void {
    const sources = lines.filter((line) => line.startsWith('  - {from'));
    const others = lines.filter((line) => !sources.includes(line));
    const models = others.some((line) => line.startsWith('models:'))
      ? []
      : ['models:', `  - {name: demo, path: '${this.#model}'}`];
    const limits = 'limits: {drainUs: 500000}';
    const discovery = sources.length > 0 ? ['discovery:', ...sources] : [];
    const text = ['listen: {port: 0}', limits, ...models, ...others, ...discovery].join('\n');
    const next = write('stator.next', text);
    renameSync(next, join(FOLDER, 'stator.yaml'));
  }

  list(names: readonly string[]): void {
    const workers = names.map((name) => `- {url: '${this.worker(name)}'}`);
    writeFileSync(join(FOLDER, 'workers.yaml'), workers.join('\n'));
  }

  pod(name: string, conditions: object) {
    const { hostname: address, port } = new URL(this.worker(name));
    return { pods: [{ name, address, conditions }], port: Number(port) };
  }

  async serve(): Promise<void> {
    const stack = new Stack(['serve', '-c', join(FOLDER, 'stator.yaml')]);
    this.#stack = stack;
    await until('it says where it serves', () => {
      assert.ok(!stack.hasEnded, stack.stderr);
      stack.url = /on (http\S+)/.exec(stack.stdout)?.[1] ?? '';
      return stack.url !== '';
    });
  }

  /** Until these are there, and no others. */
  async has(names: string): Promise<void> {
    const urls = new Set(names.split(' ').map(this.worker));
    await until(`there are ${names}`, async () => {
      const { workers } = await this.stack().snapshot();
      return workers.length === urls.size && workers.every(({ about }) => urls.has(about.url));
    });
  }

  async one(name: string): Promise<WorkerSnapshot> {
    const { workers } = await this.stack().snapshot();
    return workers.find(({ about }) => about.url === this.worker(name)) ?? assert.fail(name);
  }
}
