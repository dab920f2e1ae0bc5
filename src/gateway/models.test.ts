import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Worker, WorkerAbout, WorkerRules } from '../model/worker.ts';
import type { Engine } from '../ports.ts';
import { type ModelName, Models } from './models.ts';

const SESSIONS = Array.from({ length: 2000 }, (_, i) => `session ${i}`);

test('a name that stands for several deals sessions by weight, and each session stays where it is', () => {
  const models = modelsOf([named('latest', { split: { old: 90, new: 10 } })]);
  const dealt = SESSIONS.map((key) => models.chain('latest', key)[0]);
  const share = dealt.filter((model) => model === 'new').length / SESSIONS.length;
  assert.ok(share > 0.07 && share < 0.13, `${share} of sessions`);
  assert.deepEqual(
    SESSIONS.map((key) => models.chain('latest', key)[0]),
    dealt,
  );
});

test('where a weight grows, sessions come to that model and move nowhere else', () => {
  const before = modelsOf([named('m', { split: { a: 50, b: 40, c: 10 } })]);
  const after = modelsOf([named('m', { split: { a: 50, b: 40, c: 60 } })]);
  let moved = 0;
  for (const key of SESSIONS) {
    const [from] = before.chain('m', key);
    const [to] = after.chain('m', key);
    if (from === to) continue;
    assert.equal(to, 'c', `${key} was dealt to ${from}`);
    moved++;
  }
  assert.ok(moved > 0.2 * SESSIONS.length && moved < 0.4 * SESSIONS.length, `${moved} moved`);
});

test('two names deal the same sessions apart', () => {
  const split = { a: 1, b: 1 };
  const models = modelsOf([named('x', { split }), named('y', { split })]);
  const same = SESSIONS.filter((key) => models.chain('x', key)[0] === models.chain('y', key)[0]);
  assert.ok(same.length > 0.4 * SESSIONS.length && same.length < 0.6 * SESSIONS.length);
});

test('names that mean something else from now on leave served models as they are', () => {
  const models = modelsOf([named('latest', { split: { old: 1 } })]);
  models.changed(up('a', 'old'));
  models.changed(up('b', 'new'));
  models.rename([{ ...named('latest', { split: { new: 1 } }), aliases: ['newest'] }]);
  assert.deepEqual(models.chain('newest', 's'), ['new']);
  assert.equal(models.find('latest').name, 'new');
  models.rename([]);
  assert.throws(() => models.find('latest'), { code: 'model_not_found' });
  assert.equal(models.find('old').name, 'old');
});

test('an adapter is a name of the model whose workers have it, as long as somebody remembers', () => {
  const models = modelsOf([]);
  models.changed(up('a', 'base', ['sql']));
  models.changed(up('b', 'base'));
  const model = models.find('sql');
  assert.deepEqual([model.name, model.adapter], ['base', 'sql']);
  assert.equal(models.find('base').adapter, undefined);
  assert.deepEqual(
    models.listed().map(({ name }) => name),
    ['base', 'sql'],
  );
  assert.ok(models.isUp('sql'));
  models.changed({ kind: 'down', worker: 'a' as WorkerId, reason: '' });
  assert.ok(!models.isUp('sql') && models.isUp('base'));
  assert.equal(models.find('sql').name, 'base', 'its requests wait for it to come back');
});

test('fallbacks come after the model, whatever it is called, and lend their limits before it is up', () => {
  const models = modelsOf([named('big', { aliases: ['gpt'], fallbacks: ['small', 'tiny'] })]);
  assert.deepEqual(models.chain('gpt', 'k'), ['gpt', 'small', 'tiny']);
  assert.deepEqual(models.chain('small', 'k'), ['small']);
  assert.throws(
    () => models.find('gpt'),
    (error) => codeOf(error) === 'model_not_found',
  );
  models.changed(up('a', 'small'));
  assert.equal(models.find('gpt').name, 'small');
  models.changed(up('b', 'big'));
  assert.equal(models.find('gpt').name, 'big');
});

function modelsOf(names: ModelName[]): Models {
  return new Models({ known: new Map(), names });
}

function named(
  name: string,
  given: { split?: Record<string, number>; aliases?: string[]; fallbacks?: string[] },
): ModelName {
  const split = Object.entries(given.split ?? {}).map(([model, weight]) => ({ model, weight }));
  return { name, aliases: given.aliases ?? [], split, fallbacks: given.fallbacks ?? [] };
}

function up(id: string, model: string, adapters: string[] = []) {
  const rules: WorkerRules = { adapters, role: 'both', tenants: [], taints: [], labels: {} };
  const worker = { id: id as WorkerId, models: [model], contextTokens: 1000, rules };
  const about = { model, tokensMode: 'passThrough', demo: false };
  return {
    kind: 'up' as const,
    worker: worker as unknown as Worker,
    engine: {} as Engine,
    events: undefined,
    about: about as WorkerAbout,
  };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof GatewayError ? error.code : undefined;
}
