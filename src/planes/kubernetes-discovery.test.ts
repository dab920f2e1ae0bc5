import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { Note } from '../ports.ts';
import { CA_FILE, FakeKubernetes } from './fake-kubernetes.test.ts';
import { KubernetesApi } from './kubernetes-api.ts';
import { KubernetesDiscovery } from './kubernetes-discovery.ts';
import { WallClock } from './wall-clock.ts';

const { url: _, ...worker } = WorkerConfig.parse({ url: 'http://x', kind: 'vllm' });
const A = { name: 'a', address: '10.0.0.1' };
const B = { name: 'b', address: '10.0.0.2' };
const C = { name: 'c', address: '10.0.0.3' };

test('listed once, then each change as it comes: pods that come, are not ready, terminate and go', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A, B] });
  rig.watch();
  await rig.sees('a b');
  await until(() => rig.api.watches === 1);
  rig.api.put('llm-2', { pods: [C] });
  await rig.sees('a b c');
  rig.api.put('llm-1', { pods: [A, { ...B, conditions: { ready: false } }] });
  await rig.sees('a (b) c');
  rig.api.put('llm-1', { pods: [A, { ...B, conditions: { ready: false, terminating: true } }] });
  await rig.sees('a c');
  rig.api.delete('llm-2');
  await rig.sees('a');
  assert.deepEqual(rig.api.asked, ['list', 'watch 101']);
  assert.deepEqual(rig.warnings, []);
});

test('a watch that ends goes on from the last version, bookmarks included', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  await until(() => rig.api.watches === 1);
  rig.api.put('llm-1', { pods: [A, B] });
  rig.api.bookmark();
  await rig.sees('a b');
  rig.api.end();
  await until(() => rig.api.asked.length === 3);
  assert.deepEqual(rig.api.asked, ['list', 'watch 101', 'watch 103']);
  assert.deepEqual(rig.warnings, []);
});

test('a connection that is cut in mid-line goes on from there; what it began to say is not believed', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  for (let i = 1; i <= 3; i++) {
    await until(() => rig.api.watches === 1);
    rig.api.put('llm-1', { pods: [A, B].slice(0, 1 + (i % 2)) });
    await rig.sees(i % 2 === 1 ? 'a b' : 'a');
    rig.api.cut();
    await until(() => rig.api.watches === 0);
  }
  await until(() => rig.api.watches === 1);
  assert.deepEqual(rig.api.asked.slice(0, 3), ['list', 'watch 101', 'watch 102']);
  assert.deepEqual(rig.warnings, []);
});

test('410 within the watch or as its answer: all is listed anew, and who left meanwhile is gone', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A, B] });
  rig.watch();
  await until(() => rig.api.watches === 1);
  rig.api.put('llm-1', { pods: [B] }, 'silently');
  rig.api.forget();
  await rig.sees('b');
  await until(() => rig.api.watches === 1);
  rig.api.put('llm-1', { pods: [C] }, 'silently');
  rig.api.refuses = { status: 410, body: '{"kind":"Status","code":410}' };
  rig.api.end();
  await until(() => rig.api.asked.at(-1) === 'list');
  rig.api.refuses = undefined;
  await rig.sees('c');
  assert.equal(rig.api.asked.filter((asked) => asked === 'watch undefined').length, 0);
});

test('while the API fails the last workers stay, and one sentence says what it is', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  await rig.sees('a');
  await until(() => rig.api.watches === 1);
  rig.api.refuses = { status: 403, body: 'forbidden' };
  rig.api.cut();
  await until(() => rig.api.asked.length >= 6);
  const grant = 'grant it get, list and watch on endpointslices of the group discovery.k8s.io';
  assert.deepEqual(rig.warnings, [
    `Workers of service prod/llm: the Kubernetes API cannot be asked: the service account may not look: ${grant}; those that were there last stay.`,
  ]);
  rig.api.refuses = undefined;
  rig.api.put('llm-1', { pods: [B] }, 'silently');
  await until(() => rig.api.watches === 1);
  assert.deepEqual(rig.told, ['a']);
  rig.api.put('llm-1', { pods: [C] });
  await rig.sees('c');
});

test('a token that was written anew is read again', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  await until(() => rig.api.watches === 1);
  rig.api.token = 'second';
  rig.api.end();
  await until(() => rig.warnings.length === 1);
  assert.match(rig.warnings[0], /does not take the token in \S+token;/);
  writeFileSync(rig.tokenFile, 'second\n');
  await until(() => rig.api.watches === 1);
});

test('what is no JSON, no slice or of a kind that nobody knows does no harm', async (t) => {
  const rig = await Rig.start(t);
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  await until(() => rig.api.watches === 1);
  rig.api.say('\n{"type":"WINKED","object":{"metadata":{"name":"x"}}}\n{"type":"ADDED"}\nnull\n');
  await until(() => rig.api.asked.length >= 3 && rig.api.watches === 1);
  rig.api.say('no JSON at all\n');
  await until(() => rig.api.asked.length >= 4 && rig.api.watches === 1);
  rig.api.put('llm-1', { pods: [A, C] });
  await rig.sees('a c');
});

test('an API that nobody vouches for is not believed, and one that is not there is waited for', async (t) => {
  const rig = await Rig.start(t, { caFile: 'test/fixtures/tls/expired.crt' });
  rig.api.put('llm-1', { pods: [A] });
  rig.watch();
  await until(() => rig.warnings.length === 1);
  assert.match(rig.warnings[0], /its certificate is signed by nobody who is trusted here/);
  assert.deepEqual([rig.told, rig.api.asked], [[], []]);

  const nobody = await Rig.start(t, { server: 'https://localhost:1' });
  nobody.watch();
  await until(() => nobody.warnings.length === 1);
  assert.match(nobody.warnings[0], /it cannot be reached \(ECONNREFUSED\)/);
});

class Rig {
  readonly api: FakeKubernetes;
  readonly tokenFile: string;
  /** Names of pods as they were found, those that drain in brackets. */
  readonly told: string[] = [];
  readonly notes: Note[] = [];
  readonly #discovery: KubernetesDiscovery;

  static async start(t: TestContext, given = {}): Promise<Rig> {
    return new Rig(t, await FakeKubernetes.start(t), given);
  }

  constructor(t: TestContext, api: FakeKubernetes, given: { caFile?: string; server?: string }) {
    const folder = mkdtempSync(join(tmpdir(), 'stator-kubernetes-'));
    this.api = api;
    this.tokenFile = join(folder, 'token');
    writeFileSync(this.tokenFile, 'first');
    const { tokenFile } = this;
    this.#discovery = new KubernetesDiscovery({
      ...{ clock: new WallClock(), sink: { note: (note) => this.notes.push(note) } },
      api: new KubernetesApi({ server: api.url, tokenFile, caFile: CA_FILE, ...given }),
      ...{ namespace: 'prod', service: 'llm', port: undefined, scheme: 'http', worker },
      ...{ againUsMin: 1_000, againUsMax: 5_000 },
    });
    t.after(() => {
      this.#discovery.close();
      rmSync(folder, { recursive: true });
    });
  }

  get warnings(): string[] {
    return this.notes.flatMap((note) => (note.kind === 'warning' ? [note.sentence] : []));
  }

  watch(): void {
    this.#discovery.watch((found) => {
      const words = found.map(({ name = '', draining }) => (draining ? `(${name})` : name));
      this.told.push(words.join(' '));
    });
  }

  async sees(names: string): Promise<void> {
    await until(() => this.told.at(-1) === names);
  }
}

async function until(isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!isSo()) {
    assert.ok(Date.now() < endMs, `never: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
