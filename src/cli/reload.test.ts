import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Config } from '../model/config.ts';
import { Complaint } from './complaint.ts';
import { configOf } from './read-config.ts';
import { Reload } from './reload.ts';

const KEY = 'keys: [{key: secret-1234, tenant: t}]';

test('what can change does, and is named; what cannot is named too, again until it is as it runs', (t) => {
  const rig = new Rig(t, `{workers: [{url: 'http://a'}], ${KEY}, seed: 1}`);
  rig.reads(`{workers: [{url: 'http://a'}, {url: 'http://b'}], ${KEY}, policy: sticky, seed: 2}`);
  assert.deepEqual(rig.said, ['1 worker more, policy; only a restart changes seed']);
  assert.equal(rig.gateway.policy, 'sticky');
  rig.reads(`{workers: [{url: 'http://b'}], policy: sticky, seed: 2, limits: {holdUs: 5}}`);
  assert.equal(rig.said.at(-1), '1 worker fewer, keys, limits; only a restart changes seed');
  assert.equal(rig.gateway.limits.holdUs, 5);
  rig.reads(`{workers: [{url: 'http://b'}], policy: sticky, limits: {holdUs: 5}}`);
  assert.equal(rig.said.at(-1), 'nothing is new');
  assert.deepEqual(rig.complaints, []);
});

test('settings that only count at the start are named one by one', (t) => {
  const rig = new Rig(t, `{workers: [{url: 'http://a'}], models: [{name: m}], ${KEY}}`);
  rig.reads(
    `{workers: [{url: 'http://a'}], models: [{name: m, blockTokens: 32, policy: sticky}, {name: n}],
      keys: [{key: secret-1234, tenant: t, weight: 2}], listen: {port: 1},
      limits: {receiptsMax: 5, drainUs: 7}, journal: /tmp/j}`,
  );
  const live = 'models, limits';
  const fixed = [
    ...['listen', 'limits.receiptsMax', 'weights of keys', 'policies of models', 'models: m'],
    'journal',
  ];
  assert.deepEqual(rig.said, [`${live}; only a restart changes ${fixed.join(', ')}`]);
});

test('a file with a mistake changes nothing, whatever else is in it', (t) => {
  const start = `{workers: [{url: 'http://a'}], listen: {host: 0.0.0.0}, ${KEY}}`;
  const rig = new Rig(t, start);
  const b = `workers: [{url: 'http://b'}]`;
  for (const [text, sentence] of [
    [`{${b}, ${KEY}, polcy: sticky}`, /unknown setting polcy\. Nothing was changed\.$/],
    [`{${b}, ${KEY}, policy: best}`, /There is no policy 'best'; choose one of/],
    [`{${b}, ${KEY}, models: [{name: m, policy: best}]}`, /There is no policy 'best'/],
    [`{${b}, ${KEY}`, /cannot be read: /],
    [`{${b}}`, /lets others in, so it needs a key/],
    [`{${b}, ${KEY}, models: [{name: m, path: /no/where}]}`, /no such model/],
    [`{${b}, ${KEY}, discovery: [{from: kubernetes, service: s}]}`, /no pod of a Kubernetes/],
  ] as const) {
    rig.reads(text);
    assert.match(rig.complaints.at(-1) ?? '', sentence);
  }
  assert.deepEqual([rig.said, rig.urls, rig.gateway], [[], ['http://a'], configOf(start, '')]);
});

test('models that are new are loaded before anything changes, those that were there are not again', (t) => {
  const start = `{workers: [{url: 'http://a'}], models: [{name: m, path: /m}]}`;
  const rig = new Rig(t, start);
  const more = `{workers: [{url: 'http://a'}], models: [{name: m, path: /m}, {name: n, path: /n}]}`;
  rig.reads(more);
  rig.reads(start);
  rig.reads(more);
  rig.reads(more.replace('/n', '/other'));
  assert.deepEqual(rig.loaded, ['n']);
  assert.deepEqual(rig.said, [
    ...['models', 'models', 'models'],
    'nothing is new; only a restart changes models: n',
  ]);
});

test('told to, it reads the file as it is now', (t) => {
  const rig = new Rig(t, `{workers: [{url: 'http://a'}]}`);
  writeFileSync(rig.path, `{workers: [{url: 'http://b'}]}`);
  rig.reload.again();
  assert.deepEqual(rig.said, ['1 worker changed']);
  rig.reads(`{workers: [{url: 'http://b'}]}`);
  assert.equal(rig.said.length, 1, 'whoever watches the file has nothing to add');
  rmSync(rig.path);
  rig.reload.again();
  assert.match(
    rig.complaints[0],
    /stator\.yaml does not exist; check the path\. Nothing was changed\.$/,
  );
});

class Rig {
  readonly path: string;
  readonly reload: Reload;
  readonly said: string[] = [];
  readonly complaints: string[] = [];
  readonly loaded: string[] = [];
  gateway: Config;
  urls: string[];

  constructor(t: TestContext, start: string) {
    const folder = mkdtempSync(join(tmpdir(), 'stator-reload-'));
    t.after(() => rmSync(folder, { recursive: true }));
    this.path = join(folder, 'stator.yaml');
    const config = configOf(start, this.path);
    this.gateway = config;
    this.urls = urlsOf(config);
    this.reload = new Reload({
      path: this.path,
      config,
      workers: { set: (next) => this.#set(next) },
      gateway: {
        change: (next) => {
          this.gateway = next;
        },
      },
      load: ({ name, path = '' }) => {
        if (path.startsWith('/no/')) throw new Complaint('There is no such model.');
        return () => this.loaded.push(name);
      },
      say: (sentence) => {
        const [, what] = /was read again: (.*)\.$/.exec(sentence) ?? [];
        this.said.push(what ?? sentence);
      },
      complain: (sentence) => this.complaints.push(sentence),
    });
  }

  reads(text: string): void {
    this.reload.read(text);
  }

  /** One in place of one is a change. */
  #set(next: Config) {
    if (next.discovery.length > 0) throw new Complaint('This is no pod of a Kubernetes cluster.');
    const before = this.urls;
    this.urls = urlsOf(next);
    const added = this.urls.filter((url) => !before.includes(url)).length;
    const removed = before.filter((url) => !this.urls.includes(url)).length;
    const changed = Math.min(added, removed);
    return { added: added - changed, removed: removed - changed, changed };
  }
}

function urlsOf({ workers }: Config): string[] {
  return workers.map(({ url }) => url);
}
