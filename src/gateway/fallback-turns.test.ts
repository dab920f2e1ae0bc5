import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Worker, WorkerAbout } from '../model/worker.ts';
import type { Engine } from '../ports.ts';
import type { Ask } from '../wire/wire.ts';
import { FallbackTurns } from './fallback-turns.ts';
import { Models } from './models.ts';
import type { Manners } from './patience.ts';

const PATIENCE_US = 100_000_000;
const FALLBACK_US = 5_000_000;

test('models take their turns while nobody can serve it, and the last is waited for as always', () => {
  const turns = turnsOf('big', ['big', 'small', 'tiny']);
  assert.deepEqual(seen(turns), ['big', FALLBACK_US, undefined]);
  assert.ok(turns.next(failure('no_worker')));
  assert.ok(!turns.isFirst);
  assert.equal(seen(turns)[0], 'small');
  assert.equal(seen(turns)[1], FALLBACK_US);
  assert.ok(turns.next(failure('queue_full')));
  const [model, patienceUs, note] = seen(turns);
  assert.deepEqual([model, patienceUs], ['tiny', PATIENCE_US]);
  assert.equal(note, 'No engine could serve "big", "small": "tiny" answers instead.');
  assert.ok(!turns.next(failure('no_worker')), 'nobody is left');
});

test('what another model would fail at as well, or has begun to be our fault, is not tried again', () => {
  for (const code of ['context_length_exceeded', 'invalid_request', 'client_closed'] as const) {
    const turns = turnsOf('big', ['big', 'small']);
    seen(turns);
    assert.ok(!turns.next(failure(code)), code);
  }
  const turns = turnsOf('big', ['big', 'small']);
  assert.ok(!turns.next(failure('no_worker')), 'before it is known whose it is');
  seen(turns);
  assert.ok(!turns.next(new Error('ours')));
});

test('a model of which there is no worker is not waited for where another stands in', () => {
  const turns = turnsOf('big', ['small']);
  assert.equal(seen(turns)[0], 'small', 'and tiny is still to come');
  assert.ok(turns.next(failure('engine_lost')));
  assert.equal(seen(turns)[0], 'tiny');
  assert.equal(seen(turnsOf('small', []))[0], 'small', 'whoever is alone is waited for');
  const none = turnsOf('big', []);
  assert.equal(seen(none)[0], 'tiny', 'the last is waited for');
});

/** Of what is asked in `turns`: the model, how long it is waited for, and what is said about it. */
function seen(turns: FallbackTurns): [string, number, string | undefined] {
  const { ask, manners } = turns.asked('session');
  return [ask.model, manners.patienceUs, ask.hints.notes?.at(-1)];
}

function turnsOf(model: string, present: readonly string[]): FallbackTurns {
  const big = { name: 'big', aliases: [], split: [], fallbacks: ['small', 'tiny'] };
  const models = new Models({ known: new Map(), names: [big] });
  for (const name of present) {
    const worker = { id: name as WorkerId, models: [name], contextTokens: 1000 } as unknown;
    const about = { model: name, tokensMode: 'passThrough', demo: false } as WorkerAbout;
    const change = { worker: worker as Worker, engine: {} as Engine, events: undefined, about };
    models.changed({ kind: 'up', ...change });
  }
  const manners: Manners = {
    patienceUs: PATIENCE_US,
    holdUs: 15_000_000,
    keepAliveUs: 1,
    readerUsMax: 1,
    lastWord: 'error',
  };
  return new FallbackTurns(models, FALLBACK_US, { ask: askFor(model), manners });
}

function askFor(model: string): Ask {
  return {
    model,
    prompt: { kind: 'text', text: 'x' },
    sampling: GREEDY,
    outputTokensMax: 1,
    stop: [],
    shape: FREE,
    hints: { priority: 0 } as Ask['hints'],
    stream: false,
    includeUsage: false,
    names: [],
  };
}

function failure(code: ErrorCode): GatewayError {
  return new GatewayError(code, 'It is so.');
}
