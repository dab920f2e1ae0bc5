import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, play, refuse, standIn } from '../../test/engine-stand-in.ts';
import { plainJob } from '../../test/plain-job.ts';
import type { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import {
  type AnswerFrame,
  type AskedSampling,
  type Format,
  FREE,
  NO_FRAME,
} from '../model/request.ts';
import type { Job } from '../ports.ts';
import { EngineHttp } from './http.ts';
import { VllmEngine } from './vllm.ts';
import { type VllmDialect, vllmRequest } from './vllm-request.ts';

const DIALECT: VllmDialect = {
  ...{ model: 'its-name', takesPriority: true, takesKvHints: false, hasStructuredOutputs: true },
};
const IDS = Uint32Array.of(1, 2, 3);
const AUTO = { kind: 'auto' } as const;
const TOOL = {
  name: 'weather',
  description: undefined,
  parameters: { type: 'object', properties: { city: { enum: ['Paris'] } }, required: ['city'] },
};
const LEFT_OUT: AskedSampling = {
  ...{ temperature: undefined, topP: undefined, topK: undefined, minP: undefined },
  ...{ repetitionPenalty: undefined, frequencyPenalty: undefined },
  ...{ presencePenalty: undefined, seed: undefined },
};
const CHAT: Job['prompt'] = {
  kind: 'chat',
  chat: { ...{ model: 'm', messages: [], tools: [], thinking: undefined }, toolChoice: AUTO },
};
const REASONS: AnswerFrame = {
  ...NO_FRAME,
  reasoning: { open: '<think>', close: '</think>', isOpen: false },
  calls: { open: '<tool_call>\n', close: '\n</tool_call>', marker: '<tool_call>' },
};

test('it is asked by its own name; an answer without a limit is not cut at vLLM’s sixteen tokens', () => {
  const body = sent({ model: 'ours' });
  assert.equal(body.model, 'its-name');
  assert.equal(body.max_tokens, null);
  assert.equal(sent({ outputTokensMax: 7 }).max_tokens, 7);
  assert.equal('cache_salt' in sent({ cacheSalt: '' }), false);
  assert.equal(sent({ cacheSalt: 'ada' }).cache_salt, 'ada');
});

test('special tokens come as text, and what was said already stands behind the prompt', () => {
  const body = sent({
    said: { ids: Uint32Array.of(8, 9), text: 'x', tokens: 2, characters: 1, isPlain: true },
  });
  assert.deepEqual(body.prompt, [1, 2, 3, 8, 9]);
  assert.deepEqual([body.skip_special_tokens, body.spaces_between_special_tokens], [false, false]);
});

test('what a client left out is left to the model’s own configuration', () => {
  const body = sent({ sampling: { ...LEFT_OUT, topP: 0.5, topK: 0 } });
  assert.deepEqual([body.top_p, body.top_k], [0.5, 0]);
  for (const field of ['temperature', 'min_p', 'repetition_penalty', 'seed']) {
    assert.equal(field in body, false, field);
  }
});

test('what only vLLM’s API has goes there with ids, text and conversations', () => {
  const extras = { ignoreEos: true, outputTokensMin: 5, stopTokenIds: [7, 8] };
  const asked = { ignore_eos: true, min_tokens: 5, stop_token_ids: [7, 8] };
  const { ignore_eos, min_tokens, stop_token_ids } = sent({ extras });
  assert.deepEqual({ ignore_eos, min_tokens, stop_token_ids }, asked);
  assert.equal(sent({ extras: { skipSpecialTokens: true } }).skip_special_tokens, true);
  // Ids were cut before they were hashed.
  assert.equal('truncate_prompt_tokens' in sent({ extras: { promptTokensMax: 2 } }), false);
  const cut = { promptTokensMax: 2, skipSpecialTokens: false };
  for (const prompt of [{ kind: 'text', text: 'a' }, CHAT] as Job['prompt'][]) {
    const { body } = vllmRequest(plainJob({ prompt, extras: { ...extras, ...cut } }), DIALECT);
    const told = body as Record<string, unknown>;
    assert.deepEqual([told.min_tokens, told.truncate_prompt_tokens], [5, 2], prompt.kind);
    assert.equal(told.skip_special_tokens, false);
  }
});

test('without reasoning in front a format is vLLM’s own; with it, or for calls, one grammar says all', () => {
  const schema: Format = { kind: 'schema', schema: { type: 'boolean' } };
  assert.deepEqual(sent(shaped(schema, NO_FRAME)).structured_outputs, {
    json: { type: 'boolean' },
  });
  for (const format of [schema, { kind: 'calls', tools: [TOOL], many: false }] as Format[]) {
    const { grammar } = sent(shaped(format, REASONS)).structured_outputs as { grammar: string };
    assert.match(grammar, /^root ::= /m);
    assert.match(grammar, /<think>/);
    assert.equal(/tool_call/.test(grammar), format.kind === 'calls');
  }
  assert.equal(sent(shaped({ kind: 'noCalls' }, REASONS)).structured_outputs, undefined);
});

test('before 0.11 formats had other names', () => {
  const old = { ...DIALECT, hasStructuredOutputs: false };
  assert.deepEqual(
    sent(shaped({ kind: 'regex', pattern: 'a+' }, NO_FRAME), old).guided_regex,
    'a+',
  );
  const json = sent(shaped({ kind: 'json' }, NO_FRAME), old);
  assert.deepEqual(json.response_format, { type: 'json_object' });
  assert.equal('structured_outputs' in json, false);
});

test('a text cannot be dictated', () => {
  const dictated = plainJob({ forcedOutput: 'yes' });
  assert.throws(
    () => vllmRequest(dictated, DIALECT),
    (error: GatewayError) => error.code === 'invalid_request',
  );
});

test('log probabilities of completions are read as those of chats are', async (t) => {
  const parts = await answered(t, 'tokens-logprobs.sse', {});
  const told = parts.flatMap((part) => (part.kind === 'text' ? (part.logprobs ?? []) : []));
  assert.deepEqual(
    told.map(({ text, top }) => [text, top.length]),
    [
      ['also', 3],
      ['ad', 2],
      ['also', 3],
      ['ad', 2],
    ],
  );
  for (const { logprob, top } of told) {
    assert.ok(Math.abs(logprob + 9.704) < 0.001 && top.every((one) => one.logprob === logprob));
  }
});

test('what was said before is no prompt to anybody but the engine, and no cached tokens are none', async (t) => {
  const said = { ids: new Uint32Array(30), text: '', tokens: 30, characters: 0, isPlain: true };
  const done = (await answered(t, 'tokens-cached.sse', { said })).at(-1);
  assert.ok(done?.kind === 'done');
  assert.deepEqual([done.usage.promptTokens, done.usage.cachedTokens], [40, 40]);
  const silent = fixture('vllm', 'tokens-cached.sse').replace(
    /,"prompt_tokens_details":\{[^}]*\}/,
    '',
  );
  const none = (await answered(t, silent, {})).at(-1);
  assert.ok(none?.kind === 'done' && none.usage.cachedTokens === 0);
});

test('a prompt that is too long is the client’s to shorten', async (t) => {
  const server = await standIn(t, {});
  server.answer = refuse(400, fixture('vllm', 'too-long.json'));
  const http = new EngineHttp({ url: server.url, silenceUsMax: 5_000_000, headers: {} });
  t.after(() => http.close());
  const stream = http.stream('/v1/completions', {}, new AbortController().signal);
  await assert.rejects(stream.next(), (error: GatewayError) => {
    assert.match(error.message, /15000 tokens/);
    return error.code === 'context_length_exceeded';
  });
});

test('its ids are told, whatever pieces the text came in', async (t) => {
  const parts = await answered(t, 'tokens-cached.sse', {});
  const ids = parts.flatMap((part) => (part.kind === 'text' ? [...(part.ids ?? [])] : []));
  assert.equal(ids.length, 4);
});

function shaped(format: Format, frame: AnswerFrame): Partial<Job> {
  return { shape: { ...FREE, format, frame } };
}

function sent(changes: Partial<Job>, dialect = DIALECT): Record<string, unknown> {
  const { body } = vllmRequest(
    plainJob({ prompt: { kind: 'tokens', ids: IDS }, ...changes }),
    dialect,
  );
  assert.ok(body instanceof Uint8Array);
  return JSON.parse(new TextDecoder().decode(body)) as Record<string, unknown>;
}

/** A recorded answer, or one as it is given. */
async function answered(
  t: Parameters<typeof standIn>[0],
  stream: string,
  changes: Partial<Job>,
): Promise<Part[]> {
  const server = await standIn(t, {});
  server.answer = play(stream.endsWith('.sse') ? fixture('vllm', stream) : stream);
  const http = new EngineHttp({ url: server.url, silenceUsMax: 5_000_000, headers: {} });
  const given = { worker: 'w' as WorkerId, http, dialect: DIALECT, reportsCachedTokens: true };
  const engine = new VllmEngine({ ...given, isAwake: async () => true });
  t.after(() => engine.close());
  const parts: Part[] = [];
  const job = plainJob({ prompt: { kind: 'tokens', ids: IDS }, ...changes });
  for await (const part of engine.generate(job, new AbortController().signal)) parts.push(part);
  return parts;
}
