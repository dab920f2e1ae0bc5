import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KvEvent } from '../model/block.ts';
import type { RequestId, TenantId } from '../model/ids.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { KvEventReader, type StoredBlocks } from '../wire/kv-event-reader.ts';
import { packEvents } from '../wire/kv-events.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiCompletions } from '../wire/openai-completions.ts';
import type { Ask } from '../wire/wire.ts';
import { DEFAULT_TENANT } from './access.ts';
import { BlockNames } from './feed/block-names.ts';
import { identify } from './identify.ts';
import type { ServedModel } from './models.ts';
import { arrivalOf, jobOf, promptOf, refuseTooMany } from './prompt.ts';

const BLOCK = 16;

const tokens = toyTokens({ blockTokens: BLOCK });
const prompts = new IncrementalEncoder({
  tokens,
  elsewhere: undefined,
  settings: { bytesMax: 1_000_000, hereMax: 1_000 },
});
const model: ServedModel = { name: 'm', tokens, prompts, demo: false, contextTokens: 4096 };

const TEXT = 'the other king of the rings and the mother of the other thing '.repeat(3);

async function understood(tenant: string, salt: string | undefined, served = model) {
  const nvext = salt === undefined ? {} : { cache_salt: salt };
  const ask = openaiCompletions.parse({ model: 'm', prompt: TEXT, nvext });
  const who = identify(tenant as TenantId, {}, []);
  const prompt = await promptOf(ask, served, who);
  const given = { ask, model: served, who, prompt, manners: { patienceUs: 1 } };
  const id = 'r' as RequestId;
  return { prompt, job: jobOf(id, given), arrival: arrivalOf(id, given) };
}

const name = fc.oneof(
  fc.constantFrom('a', 'a/b', 'b/c', 'c', '/', '["a"]', '"', ',', DEFAULT_TENANT),
  fc.string(),
);

test('no two tenants share a block, whatever salts they choose, and no two salts of one', () => {
  const side = fc.tuple(name, fc.option(name, { nil: undefined }));
  return fc.assert(
    fc.asyncProperty(side, side, async ([tenant, salt], [other, otherSalt]) => {
      const one = await understood(tenant, salt);
      const two = await understood(other, otherSalt);
      const same = tenant === other && (salt || undefined) === (otherSalt || undefined);
      assert.equal(one.job.cacheSalt === two.job.cacheSalt, same);
      assert.equal(one.arrival.hashes[0] === two.arrival.hashes[0], same);
    }),
    { numRuns: 500 },
  );
});

test('what an engine tells of a prompt it was given is what the next such prompt is looked up by', () =>
  fc.assert(
    fc.asyncProperty(name, fc.option(name, { nil: undefined }), async (tenant, salt) => {
      const { job, arrival } = await understood(tenant, salt);
      assert.ok(job.prompt.kind === 'tokens');
      const { ids } = job.prompt;
      const count = arrival.hashes.length;
      assert.ok(count >= 2);
      const names = new BlockNames(tokens.hasher, { bytesMax: 1 << 20, orphansMax: 0 });
      // The engine's own names are nothing to us; its blocks come in two events.
      const told = (first: number, last: number): bigint[] => {
        const event: KvEvent = {
          kind: 'stored',
          hashes: Array.from({ length: last - first }, (_, i) => BigInt(900 + first + i)),
          parent: first === 0 ? undefined : BigInt(900 + first - 1),
          tokens: ids.slice(first * BLOCK, last * BLOCK),
          blockTokens: BLOCK,
          tier: 'device',
          extraKeys: job.cacheSalt === '' ? [] : [job.cacheSalt],
        };
        const found: bigint[] = [];
        const on = {
          stored: (stored: StoredBlocks) => {
            const naming = names.stored(stored);
            assert.ok(naming.kind === 'named');
            for (const { hashes } of naming.runs) found.push(...hashes);
          },
          removed: () => assert.fail(),
          cleared: () => assert.fail(),
          skipped: () => assert.fail(),
        };
        new KvEventReader().read(packEvents([event], 0), () => {}, on);
        return found;
      };
      assert.deepEqual([...told(0, 1), ...told(1, count)], [...arrival.hashes]);
    }),
    { numRuns: 100 },
  ));

test('of a prompt that is to be cut its last tokens are hashed and sent, and nothing is cut twice', async () => {
  const who = identify(DEFAULT_TENANT, {}, []);
  const cut = async (body: object, served = model) => {
    const ask = openaiCompletions.parse({ model: 'm', prompt: TEXT, max_tokens: 5, ...body });
    const prompt = await promptOf(ask, served, who);
    const given = { ask, model: served, who, prompt, manners: { patienceUs: 1 } };
    return { prompt, job: jobOf('r' as RequestId, given) };
  };
  const ids = tokens.encode(TEXT);
  for (const [most, served, kept] of [
    [40, model, 40],
    [1_000_000, model, ids.length],
    [-1, { ...model, contextTokens: 30 }, 25],
  ] as const) {
    const { prompt, job } = await cut({ truncate_prompt_tokens: most }, served);
    assert.ok(job.prompt.kind === 'tokens');
    assert.deepEqual([...job.prompt.ids], [...ids.subarray(ids.length - kept)]);
    assert.deepEqual(prompt.hashes, tokens.hasher.blocks(tokens.hasher.root(''), job.prompt.ids));
    assert.equal(job.extras?.promptTokensMax, undefined);
  }
  const unknown = { ...model, tokens: undefined };
  const passed = await cut({ truncate_prompt_tokens: 3 }, unknown);
  assert.equal(passed.job.extras?.promptTokensMax, 3, 'whoever encodes it cuts it');
  assert.equal(passed.prompt.promptTokens, 3);
});

test('special tokens are text where reasoning and calls are told apart here, and else as in vLLM', async () => {
  const who = identify(DEFAULT_TENANT, {}, []);
  const messages = [{ role: 'user', content: 'the king' }];
  const skips = async (ask: Ask, served: ServedModel) => {
    const prompt = await promptOf(ask, served, who);
    const given = { ask, model: served, who, prompt };
    return jobOf('r' as RequestId, given).extras?.skipSpecialTokens;
  };
  const unknown = { ...model, tokens: undefined };
  for (const said of [undefined, true, false]) {
    const body = { model: 'm', skip_special_tokens: said };
    assert.equal(await skips(openaiChat.parse({ ...body, messages }), model), undefined);
    assert.equal(await skips(openaiChat.parse({ ...body, messages }), unknown), said);
    const plain = openaiCompletions.parse({ ...body, prompt: TEXT });
    assert.equal(await skips(plain, model), said ?? true);
  }
});

test('more messages, blocks or tools than the context has tokens are refused unread', () => {
  const served = { ...model, contextTokens: 100 };
  const asked = (given: object) => openaiChat.parse({ model: 'm', messages: [], ...given });
  const messages = (count: number) =>
    Array.from({ length: count }, () => ({ role: 'user', content: '' }));
  const blocks = Array.from({ length: 100 }, () => ({ type: 'text', text: 'a' }));
  const tools = Array.from({ length: 99 }, (_, i) => ({
    type: 'function',
    function: { name: `f${i}` },
  }));
  refuseTooMany(asked({ messages: messages(99) }), served);
  for (const given of [
    { messages: messages(100) },
    { messages: [{ role: 'user', content: blocks }] },
    { messages: messages(1), tools },
  ]) {
    assert.throws(() => refuseTooMany(asked(given), served), /more messages and tools/);
  }
});

test('a chat becomes the tokens of its model’s template; without a tokenizer it passes as it is', async () => {
  const messages = [{ role: 'user', content: 'the king' }];
  const ask = openaiChat.parse({ model: 'm', messages });
  const who = identify(DEFAULT_TENANT, {}, []);
  const exact = await promptOf(ask, model, who);
  assert.ok(ask.prompt.kind === 'chat' && exact.job.kind === 'tokens');
  assert.deepEqual([...exact.job.ids], [...tokens.encode(tokens.render(ask.prompt.chat))]);
  assert.equal(exact.promptTokens, exact.job.ids.length);
  const passed = await promptOf(ask, { ...model, tokens: undefined }, who);
  assert.deepEqual([passed.job, passed.hashes.length], [ask.prompt, 0]);
  assert.ok(passed.promptTokens > 0);
});
