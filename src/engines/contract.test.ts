/** What every engine that a gateway can stand in front of has in common; each kind's own streams are played. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Asked,
  fixture,
  introduction,
  play,
  refuse,
  type StandIn,
  standIn,
} from '../../test/engine-stand-in.ts';
import { plainJob } from '../../test/plain-job.ts';
import { GatewayError } from '../model/error.ts';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Chat } from '../model/request.ts';
import type { Engine, Introduction, Job, KnownTokens, Tokens, Upstream } from '../ports.ts';
import { UPSTREAMS } from './upstreams.ts';

interface Kind {
  kind: keyof typeof UPSTREAMS;
  config?: object;
  /** Pieces of its streams: events, or lines. */
  framing?: 'lines';
  contextTokens: number;
  slots: number;
  /** What the prompt gets by which it is met, where there is one. */
  probe?: string;
  /** What the recorded conversation says. */
  chat: { text: string; cachedTokens: number | undefined };
  /** What comes of token ids, where it takes any, and where they stand in what it is sent. */
  tokens?: { field: string; text: string; cachedTokens: number };
  /** An event that says that something broke, behind others. */
  broken: string;
  /** An event of a word, with nothing to follow. */
  word: string;
}

const chatWord = sse({ choices: [{ index: 0, delta: { content: 'so' }, finish_reason: null }] });
const openaiBroken = sse({ error: { message: 'it broke', code: 500 } });

const KINDS: Kind[] = [
  {
    kind: 'vllm',
    contextTokens: 15_000,
    slots: 8,
    probe: '{"usage":{"prompt_tokens_details":{"cached_tokens":32}}}',
    chat: { text: 'edAmount GLclampf Requestserstand', cachedTokens: 0 },
    tokens: { field: 'prompt', text: 'Navigator listeners.Received listeners', cachedTokens: 0 },
    broken: openaiBroken,
    word: chatWord,
  },
  {
    kind: 'sglang',
    contextTokens: 40_960,
    slots: 48,
    chat: { text: 'Hello there', cachedTokens: 8 },
    tokens: { field: 'input_ids', text: 'Hello, you.', cachedTokens: 4 },
    broken: openaiBroken,
    word: chatWord,
  },
  {
    kind: 'trtllm',
    contextTokens: 32_768,
    slots: 64,
    chat: { text: 'Hello there', cachedTokens: 8 },
    tokens: { field: 'prompt', text: 'Hello, you.', cachedTokens: 4 },
    broken: sse({ object: 'error', message: 'it broke', type: 'InternalServerError', code: 500 }),
    word: chatWord,
  },
  {
    kind: 'llama-server',
    contextTokens: 4096,
    slots: 2,
    chat: { text: recorded('llama-server', 'chat.sse'), cachedTokens: 0 },
    tokens: { field: 'prompt', text: ' mixin revoked mkd remaining', cachedTokens: 0 },
    broken: openaiBroken,
    word: chatWord,
  },
  {
    kind: 'ollama',
    framing: 'lines',
    contextTokens: 16_384,
    slots: 1,
    chat: { text: 'Hello there', cachedTokens: undefined },
    broken: '{"error":"it broke"}\n',
    word: '{"message":{"role":"assistant","content":"so"},"done":false}\n',
  },
  {
    kind: 'openai',
    config: { engineModel: 'gpt-5.1', key: 'sk-secret-1' },
    contextTokens: 128_000,
    slots: 64,
    chat: { text: 'Hello there', cachedTokens: 8 },
    broken: openaiBroken,
    word: chatWord,
  },
  {
    kind: 'anthropic',
    config: { key: 'sk-ant-secret-1' },
    contextTokens: 200_000,
    slots: 64,
    chat: { text: 'Hello there', cachedTokens: 8 },
    broken: sse({ type: 'error', error: { type: 'api_error', message: 'it broke' } }),
    word: [
      sse({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
      sse({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'so' } }),
    ].join(''),
  },
];

for (const of of KINDS) {
  const { kind } = of;

  test(`${kind}: it says who it is, the same one each time, and is gone when it is gone`, async (t) => {
    const { upstream, engine, met, server } = await meet(t, of);
    assert.equal(met.about.engine, kind);
    assert.equal(met.worker.contextTokens, of.contextTokens);
    assert.equal(met.worker.slots, of.slots);
    assert.equal(met.worker.models.length, 1);
    assert.equal((await upstream.introduce()).run, met.run);
    assert.equal(await engine.healthy(), true);
    await engine.report();
    await engine.resetCache().catch((error) => assert.ok(error instanceof GatewayError));
    await server.close();
    await assert.rejects(take(engine, chatJob()), is('engine_lost'));
  });

  test(`${kind}: text, and one end behind it with what was counted`, async (t) => {
    const { engine, server } = await meet(t, of);
    server.answer = play(fixture(kind, of.framing === 'lines' ? 'chat.ndjson' : 'chat.sse'));
    const parts = await take(engine, chatJob());
    assert.equal(textIn(parts), of.chat.text);
    const done = endOf(parts);
    assert.ok(done.usage.promptTokens > 0 && done.usage.outputTokens > 0);
    assert.equal(done.usage.cachedTokens, of.chat.cachedTokens);
  });

  test(`${kind}: reasoning, then a call, whole and told as the reason to stop`, async (t) => {
    const { engine, server } = await meet(t, of);
    server.answer = play(fixture(kind, of.framing === 'lines' ? 'calls.ndjson' : 'calls.sse'));
    const parts = await take(engine, chatJob());
    const reasoning = parts.flatMap((part) => (part.kind === 'reasoning' ? part.text : []));
    assert.equal(reasoning.join(''), 'Let me look.');
    const calls = parts.filter((part) => part.kind === 'toolCall');
    assert.deepEqual(
      calls.map(({ index, name }) => ({ index, name })),
      [{ index: 0, name: 'weather' }],
    );
    assert.notEqual(calls[0].id, '');
    const said = parts.flatMap((part) => (part.kind === 'toolArguments' ? part.text : []));
    assert.deepEqual(JSON.parse(said.join('')), { city: 'Paris' });
    const done = endOf(parts);
    assert.deepEqual(done.finish, { kind: 'toolCalls' });
    assert.equal(done.usage.promptTokens, 40);
    assert.equal(done.usage.outputTokens, 14);
  });

  if (of.tokens !== undefined) {
    const { field, text, cachedTokens } = of.tokens;
    test(`${kind}: token ids go there as they are, and text comes of them`, async (t) => {
      const { engine, server, met } = await meet(t, of);
      assert.equal(met.about.tokensMode, 'exact');
      let asked: Asked | undefined;
      server.answer = (job) => {
        asked = job;
        play(fixture(kind, 'tokens.sse'))(job);
      };
      const prompt: Job['prompt'] = { kind: 'tokens', ids: Uint32Array.of(7, 2_000_000_000, 0) };
      const parts = await take(engine, plainJob({ prompt }));
      assert.deepEqual(asked?.body[field], [7, 2_000_000_000, 0]);
      assert.equal(textIn(parts), text);
      assert.equal(endOf(parts).usage.cachedTokens, cachedTokens);
    });
  }

  test(`${kind}: what it refuses before the answer is one error that says whose fault it is`, async (t) => {
    const { engine, server } = await meet(t, of);
    const answers: [number, string, string, RegExp][] = [
      [400, says('n must be 1'), 'invalid_request', /^n must be 1$/],
      [400, says("prompt exceeds the model's maximum context length of 8"), TOO_LONG, /context/],
      [401, says('sk-secret-1 is no key'), 'engine_denied', /mend key:/],
      [404, says('no such model'), 'engine_denied', /404/],
      [429, says('slow down'), 'queue_full', /slow down/],
      [500, '<html>oops</html>', 'engine_failed', /gave no reason/],
      [503, '{"object":"error","message":"loading"}', 'queue_full', /loading/],
    ];
    for (const [status, body, code, sentence] of answers) {
      server.answer = refuse(status, body, { 'retry-after': '7' });
      await assert.rejects(take(engine, chatJob()), (error: GatewayError) => {
        assert.match(error.message, sentence, `${kind} at ${status}`);
        assert.doesNotMatch(error.message, /secret/);
        assert.equal(error.retryAfterUs, code === 'queue_full' ? 7e6 : undefined);
        return is(code)(error);
      });
    }
  });

  test(`${kind}: behind the first part, an error is the last part, and a cut connection a lost engine`, async (t) => {
    const { engine, server } = await meet(t, of);
    server.answer = play(of.word + of.broken);
    const parts = await take(engine, chatJob());
    assert.equal(textIn(parts), 'so');
    const last = parts.at(-1);
    assert.ok(last?.kind === 'error' && /it broke/.test(last.error.message));
    server.answer = cutAfter(of.word);
    const taken: Part[] = [];
    await assert.rejects(take(engine, chatJob(), taken), is('engine_lost'));
    assert.equal(textIn(taken), 'so');
    // A stream that merely stops has no end: whoever reads it knows that it is not whole.
    server.answer = play(of.word);
    assert.ok((await take(engine, chatJob())).every(({ kind: part }) => part !== 'done'));
  });

  test(`${kind}: garbage ends the answer, and closes the connection`, async (t) => {
    const { engine, server } = await meet(t, of);
    const line = of.framing === 'lines' ? '' : 'data: ';
    for (const [garbage, code] of [
      [`${line}{"half": \n\n`, 'engine_failed'],
      [`${line}[1,2]\n\n`, 'engine_failed'],
    ]) {
      let closed: Promise<void> | undefined;
      server.answer = (asked) => {
        closed = asked.closed;
        asked.response.writeHead(200);
        asked.response.write(garbage);
      };
      await assert.rejects(take(engine, chatJob()), is(code));
      await closed;
    }
  });

  test(`${kind}: who leaves closes its connection, so that it can stop`, async (t) => {
    const { engine, server } = await meet(t, of);
    let closed: Promise<void> | undefined;
    server.answer = (asked) => {
      closed = asked.closed;
      asked.response.writeHead(200);
      asked.response.write(of.word);
    };
    for await (const _ of engine.generate(chatJob(), new AbortController().signal)) break;
    await closed;
    const leaving = new AbortController();
    const left = (async () => {
      for await (const _ of engine.generate(chatJob(), leaving.signal)) leaving.abort();
    })();
    await assert.rejects(left, is('engine_lost'));
    await closed;
  });

  test(`${kind}: its key goes with each question, and nowhere else`, async (t) => {
    const { engine, server, met } = await meet(t, { ...of, config: { ...of.config, key: KEY } });
    server.answer = refuse(403, says(`${KEY} may not`));
    await assert.rejects(take(engine, chatJob()), (error: Error) => {
      if (of.config !== undefined) assert.doesNotMatch(error.message, new RegExp(KEY));
      return error instanceof GatewayError;
    });
    assert.ok(server.seen.length > 1);
    for (const headers of server.seen) {
      const sent = kind === 'anthropic' ? headers['x-api-key'] : headers.authorization;
      assert.equal(sent, kind === 'anthropic' ? KEY : `Bearer ${KEY}`);
    }
    assert.doesNotMatch(JSON.stringify(met), new RegExp(KEY));
  });
}

test('a line that never ends is refused before it fills the memory', async (t) => {
  const ollama = KINDS.find(({ kind }) => kind === 'ollama') ?? assert.fail();
  const { engine, server } = await meet(t, ollama);
  let closed: Promise<void> | undefined;
  server.answer = (asked) => {
    closed = asked.closed;
    asked.response.writeHead(200).write('x'.repeat(9 * 1024 * 1024));
  };
  await assert.rejects(take(engine, chatJob()), is('engine_lost'));
  await closed;
});

test('an engine that says nothing is lost after the time it is given', async (t) => {
  await Promise.all(
    KINDS.map(async (of) => {
      const { engine, server } = await meet(t, of, 100_000);
      server.answer = ({ response }) => response.writeHead(200).write(of.word);
      const taken: Part[] = [];
      await assert.rejects(take(engine, chatJob(), taken), is('engine_lost'));
      assert.equal(textIn(taken), 'so');
    }),
  );
});

const TOO_LONG = 'context_length_exceeded';
const KEY = 'sk-very-secret';

async function meet(t: TestContext, of: Kind, silenceUsMax = 60_000_000) {
  const server: StandIn = await standIn(t, introduction(of.kind));
  if (of.probe !== undefined) server.answer = ({ response }) => response.end(of.probe);
  const upstream: Upstream = UPSTREAMS[of.kind]({
    config: WorkerConfig.parse({ url: server.url, kind: of.kind, ...of.config }),
    silenceUsMax,
    kvSecret: undefined,
    known: () => (of.tokens === undefined ? undefined : KNOWN),
    compareTokens: async () => ({ checked: 1, differing: 0, reason: '' }),
  });
  const met: Introduction = await upstream.introduce();
  const engine: Engine = upstream.engine('w' as WorkerId);
  t.after(() => {
    engine.close();
    upstream.close();
  });
  return { server, upstream, engine, met };
}

/** As much of a tokenizer as engines look at. */
const KNOWN: KnownTokens = {
  fingerprint: 'f',
  tokens: {
    hasher: { blockTokens: 16 },
    specials: new Map([
      [2, '<|im_end|>'],
      [3, '<tool_call>'],
    ]),
    endTokens: new Set([2]),
  } as unknown as Tokens,
};

function chatJob(): Job {
  const chat: Chat = {
    model: 'm',
    messages: [{ role: 'user', content: [{ kind: 'text', text: 'Say hello.' }] }],
    tools: [{ name: 'weather', description: 'Of a city', parameters: { type: 'object' } }],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
  return plainJob({ prompt: { kind: 'chat', chat } });
}

async function take(engine: Engine, job: Job, into: Part[] = []): Promise<Part[]> {
  for await (const part of engine.generate(job, new AbortController().signal)) into.push(part);
  return into;
}

function textIn(parts: readonly Part[]): string {
  return parts.flatMap((part) => (part.kind === 'text' ? part.text : [])).join('');
}

/** Exactly one, and last. */
function endOf(parts: readonly Part[]): Extract<Part, { kind: 'done' }> {
  const ends = parts.filter(({ kind }) => kind === 'done' || kind === 'error');
  const last = parts.at(-1);
  assert.ok(ends.length === 1 && last?.kind === 'done', JSON.stringify(parts));
  return last;
}

function is(code: string): (error: Error) => boolean {
  return (error) => {
    assert.ok(error instanceof GatewayError, error.stack);
    assert.equal(error.code, code, error.message);
    return true;
  };
}

function says(message: string): string {
  return JSON.stringify({ error: { message, type: 'x', code: null } });
}

function sse(event: object): string {
  return `data: ${JSON.stringify(event)}\n\n`;
}

function cutAfter(text: string): (asked: Asked) => void {
  return ({ response }) => {
    response.writeHead(200).write(text, () => setImmediate(() => response.destroy()));
  };
}

/** What a recorded answer says; read apart from what is tested. */
function recorded(kind: string, name: string): string {
  const said = fixture(kind, name).matchAll(/"(?:delta":\{"content|text)":("(?:[^"\\]|\\.)*")/g);
  return [...said].map(([, json]) => JSON.parse(json) as string).join('');
}
