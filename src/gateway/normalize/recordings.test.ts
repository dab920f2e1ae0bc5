/**
 * What each rule saves on requests of real clients, in tokens: what a request adds to the one before it
 * in its thread, with the rule and without it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Recorded, recorded } from '../../../test/recorded.ts';
import { must } from '../../base/assert.ts';
import { Config } from '../../model/config.ts';
import type { TenantId } from '../../model/ids.ts';
import { type Chat, textOf } from '../../model/request.ts';
import { ModelTokens } from '../../tokens/model-tokens.ts';
import { DEMO_TEMPLATE } from '../../weights/demo-template.ts';
import { demoVocabulary } from '../../weights/demo-vocabulary.ts';
import { GGUF_TOKEN_KINDS } from '../../weights/vocabulary.ts';
import { anthropicMessages } from '../../wire/anthropic-messages.ts';
import type { Json } from '../../wire/fields.ts';
import { openaiChat } from '../../wire/openai-chat.ts';
import type { Ask } from '../../wire/wire.ts';
import { identify } from '../identify.ts';
import type { ServedModel } from '../models.ts';
import { withoutBillingBlock } from './billing-block.ts';
import { Normalizer } from './normalizer.ts';

const tokens = demoTokens(DEMO_TEMPLATE);
const model: ServedModel = {
  name: 'm',
  tokens,
  prompts: undefined,
  demo: false,
  contextTokens: 100_000,
};

/** Writes tools first, and ids of calls, as Mistral's template does. */
const ID_TEMPLATE = `{%- for tool in tools or [] %}{{ tool | tojson }}{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}{{ '[CALL]' + call.id + call.function.name }}{%- endfor %}
{%- if message.tool_call_id %}{{ '[FOR]' + message.tool_call_id }}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}`;

/** How a gateway without some of the rules would write a request before it hashes it. */
interface Writing {
  markers: boolean;
  strings: boolean;
}

test('read alike, texts cost nothing again when markers move or strings become blocks', () => {
  const plain = { markers: false, strings: false };
  const off: Record<string, Writing> = {
    cacheControl: { markers: true, strings: false },
    textBlock: { markers: false, strings: true },
    both: { markers: true, strings: true },
  };
  const saved: Record<string, number> = { cacheControl: 0, textBlock: 0, both: 0 };
  const estimated: Record<string, number> = { cacheControl: 0, textBlock: 0 };
  const extended = { raw: 0, read: 0 };
  let pairs = 0;
  for (const thread of threads(recorded('/v1/messages', '/v1/chat/completions'))) {
    const normalizer = normalizerOf();
    for (const [i, request] of thread.entries()) {
      for (const { rule, savedTokens } of normalised(normalizer, request).applied) {
        if (rule in estimated) estimated[rule] += savedTokens;
      }
      if (i === 0) continue;
      pairs++;
      const before = thread[i - 1];
      extended.read += isExtended(before, request) ? 1 : 0;
      extended.raw += written(request.body, off.both).startsWith(written(before.body, off.both))
        ? 1
        : 0;
      const needed = newIds(before, request, plain);
      for (const rule in off) saved[rule] += newIds(before, request, off[rule]) - needed;
    }
  }
  console.log(
    `  of ${pairs} follow-ups ${extended.read} extend what came before, ${extended.raw} as raw JSON`,
  );
  console.log(
    `  new tokens saved: ${JSON.stringify(saved)}, estimated ${JSON.stringify(estimated)}`,
  );
  assert.ok(extended.read > extended.raw);
  for (const rule in saved) assert.ok(saved[rule] > 0, rule);
  assert.ok(estimated.textBlock > 0, 'it is counted at run time');
});

test('without its billing block, a second session shares tools and instructions with the first', () => {
  const [first, second] = twoSessions();
  const given = chatOf(first);
  const next = chatOf(second);
  const before = sharedIds(tokens.render(given), tokens.render(next));
  const normalizer = normalizerOf();
  const one = normalised(normalizer, first);
  const two = normalised(normalizer, second);
  const after = sharedIds(tokens.render(one.chat), tokens.render(two.chat));
  const estimate = two.applied.find(({ rule }) => rule === 'billingBlock')?.savedTokens ?? 0;
  console.log(
    `  shared by two sessions: ${before} tokens with the block, ${after} without (${after - before} saved, ${estimate} estimated)`,
  );
  assert.ok(before < 100 && after - before > 5_000);
  assert.ok(estimate > 5_000 && estimate < 2 * after);
  assert.deepEqual(one.applied, [{ rule: 'billingBlock', savedTokens: 0 }]);
});

test('the block is in every prompt of Claude Code, and what was sent is left as it was', () => {
  for (const request of recorded('/v1/messages')) {
    const ask = anthropicMessages.parse(request.body);
    assert.ok(ask.prompt.kind === 'chat');
    const sent = JSON.stringify([request.body, ask]);
    const isBilled = sent.includes('x-anthropic-billing-header');
    assert.equal(isBilled, request.client === 'claude-code', request.name);
    assert.equal(withoutBillingBlock(ask.prompt.chat) !== undefined, isBilled, request.name);
    const who = identify('t' as TenantId, request.headers, ask.names);
    const incoming = { body: request.body, ask, who };
    const kept = normalizerOf().normalise({ ...incoming, model });
    assert.equal(JSON.stringify(kept.ask).includes('x-anthropic-billing'), false);
    assert.equal(JSON.stringify([request.body, ask]), sent);
    const off = new Normalizer({
      ...Config.parse({}).normalise,
      billingBlock: false,
    });
    assert.equal(JSON.stringify(off.normalise({ ...incoming, model }).ask), JSON.stringify(ask));
    const passed = normalizerOf().normalise({
      ...incoming,
      model: { ...model, tokens: undefined },
    });
    assert.equal(passed.ask, ask);
    assert.deepEqual(passed.applied, []);
  }
});

test('no recorded client moves tools or renames calls; one that did both would lose nothing', () => {
  const printing = { ...model, tokens: demoTokens(ID_TEMPLATE) };
  const render = (chat: Chat) => printing.tokens.render(chat);
  const saved = { toolOrder: 0, callIds: 0, measured: 0 };
  let upsets = 0;
  for (const thread of threads(recorded('/v1/messages', '/v1/chat/completions'))) {
    const [normalizer, upsetting] = [normalizerOf(), normalizerOf()];
    let before = { sent: '', put: '', upset: '' };
    for (const [i, request] of thread.entries()) {
      const told = normalised(normalizer, request, printing);
      assert.ok(!told.applied.some(({ rule }) => rule in saved), request.name);
      const upset = i === 0 ? request : { ...request, body: upsetBody(request.body, i) };
      const put = normalised(upsetting, upset, printing);
      const now = {
        sent: render(told.chat),
        put: render(put.chat),
        upset: render(chatOf(upset)),
      };
      if (i > 0 && now.sent.startsWith(before.sent)) {
        upsets++;
        assert.ok(now.put.startsWith(before.put), request.name);
        saved.measured += sharedIds(before.put, now.put) - sharedIds(before.upset, now.upset);
      }
      for (const { rule, savedTokens } of put.applied) {
        if (rule in saved) saved[rule as 'toolOrder'] += savedTokens;
      }
      before = now;
    }
  }
  console.log(`  ${upsets} follow-ups upset: tokens saved ${JSON.stringify(saved)}`);
  assert.ok(upsets > 0 && saved.measured > 0 && saved.toolOrder > 0 && saved.callIds > 0);
});

/** Requests of one thread with the same instructions and the same first words, in order. */
function threads(requests: readonly Recorded[]): Recorded[][] {
  const found = new Map<string, Recorded[]>();
  for (const request of requests) {
    const chat = chatOf(request);
    const { messages } = withoutBillingBlock(chat)?.chat ?? chat;
    const first = messages.findIndex(({ role }) => role === 'user');
    const opening = messages.slice(0, first + 1).map(({ content }) => textOf(content));
    const { thread } = identify('t' as TenantId, request.headers, askOf(request).names);
    const key = JSON.stringify([request.client, thread, opening]);
    found.set(key, [...(found.get(key) ?? []), request]);
  }
  return [...found.values()];
}

/** Two sessions of Claude Code with the same tools and instructions, and other first words. */
function twoSessions(): [Recorded, Recorded] {
  const [first, ...others] = recorded('/v1/messages').filter(
    ({ client }) => client === 'claude-code',
  );
  const { tools } = first.body;
  const second = others.find(
    ({ headers, body }) =>
      headers['x-claude-code-session-id'] !== first.headers['x-claude-code-session-id'] &&
      JSON.stringify(body.tools) === JSON.stringify(tools),
  );
  assert.ok(second !== undefined);
  return [first, second];
}

function normalizerOf(): Normalizer {
  return new Normalizer(Config.parse({}).normalise);
}

function normalised(normalizer: Normalizer, request: Recorded, served = model) {
  const ask = askOf(request);
  const who = identify('t' as TenantId, request.headers, ask.names);
  const { ask: plain, applied } = normalizer.normalise({
    body: request.body,
    ask,
    model: served,
    who,
  });
  assert.ok(plain.prompt.kind === 'chat');
  return { chat: plain.prompt.chat, applied };
}

function askOf({ path, body }: Recorded): Ask {
  return (path === '/v1/messages' ? anthropicMessages : openaiChat).parse(body);
}

function chatOf(request: Recorded): Chat {
  const { prompt } = askOf(request);
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}

function isExtended(before: Recorded, now: Recorded): boolean {
  const [old, next] = [chatOf(before), chatOf(now)].map(({ tools, messages }) =>
    [tools, ...messages].map((part) => JSON.stringify(part)),
  );
  return old.every((part, i) => part === next[i]);
}

/** What of a request is no prefix that it has in common with the one before it. */
function newIds(before: Recorded, now: Recorded, writing: Writing): number {
  const text = written(now.body, writing);
  return tokens.encode(text).length - sharedIds(written(before.body, writing), text);
}

function sharedIds(one: string, other: string): number {
  const [a, b] = [tokens.encode(one), tokens.encode(other)];
  const end = a.findIndex((id, i) => id !== b[i]);
  return end < 0 ? a.length : end;
}

function written(body: Json, { markers, strings }: Writing): string {
  const { tools, system, messages } = body as {
    tools?: unknown;
    system?: unknown;
    messages: Json[];
  };
  const parts = [
    tools,
    system,
    ...messages.map(({ role, content, ...rest }) => ({
      role,
      ...rest,
      content,
    })),
  ];
  return parts
    .map((part) =>
      JSON.stringify(part, (key, value: unknown) => {
        if (key === 'cache_control' && !markers) return undefined;
        const isText = key === 'content' && typeof value === 'string';
        return isText && !strings ? [{ type: 'text', text: value }] : value;
      }),
    )
    .join('\n');
}

/** Tools turned round, and each id of a call made up anew. */
function upsetBody(body: Json, salt: number): Json {
  const ids = new Map<string, string>();
  const upset = JSON.parse(JSON.stringify(body), (key, value: unknown) => {
    const isId =
      (key === 'id' || key === 'tool_use_id' || key === 'tool_call_id') &&
      typeof value === 'string';
    if (!isId) return value;
    const id = ids.get(value) ?? `made-up-${salt}-${ids.size}`;
    ids.set(value, id);
    return id;
  }) as Json;
  if (Array.isArray(upset.tools)) upset.tools.reverse();
  return upset;
}

function demoTokens(template: string): ModelTokens {
  const { tokens: texts, kinds, merges } = demoVocabulary();
  const built = ModelTokens.build({
    vocabulary: {
      algorithm: 'bpe',
      preTokenizer: 'qwen2',
      tokens: texts,
      kinds: Array.from(kinds, (kind) => must(GGUF_TOKEN_KINDS[kind], 'it has a kind')),
      merges,
      endTokens: [texts.indexOf('<|im_end|>')],
      beginToken: undefined,
      endToken: undefined,
      addsBegin: false,
      template,
    },
    model: 'm',
    fingerprint: 'f',
    blockTokens: 16,
    now: () => new Date(0),
  });
  assert.ok(built.kind === 'exact', JSON.stringify(built));
  return built.tokens;
}
