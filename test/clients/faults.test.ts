/**
 * Every way in which an engine was seen to fail, on each wire, streamed and not, read by the official
 * clients: they get an error they know, or a stream that ends in one; the engine is never asked behind
 * their back, nothing hangs, and the next request is served.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { get } from '../e2e/client.ts';
import {
  begin,
  chunkOf,
  type EngineCall,
  FakeEngine,
  finish,
  serveBefore,
} from '../e2e/fake-engine.ts';
import { type Stack, until } from '../e2e/stack.ts';

const SILENCE_US_MAX = 700_000;
const TRIES_MAX = 3;

const engine = new FakeEngine({ slots: 16, stepUs: 1_000 });
let stack: Stack;
let openai: OpenAI;
let anthropic: Anthropic;
before(async () => {
  await engine.start();
  stack = await serveBefore(engine, { engineSilenceUsMax: SILENCE_US_MAX });
  const given = { apiKey: 'local', maxRetries: 0 };
  openai = new OpenAI({ baseURL: `${stack.url}/v1`, ...given });
  anthropic = new Anthropic({ baseURL: stack.url, ...given });
});

type Fault = (call: EngineCall) => void;

const refuse =
  (status: number, headers: Record<string, string> = {}, body = '{"error":{"message":"No."}}') =>
  ({ response }: EngineCall) => {
    response.writeHead(status, headers).end(body);
  };

/** Nothing was said yet: the client gets a status, and may try again. */
const BEFORE: Record<string, Fault> = {
  '503': refuse(503),
  '503 with Retry-After': refuse(503, { 'retry-after': '7' }),
  '429': refuse(429),
  '429 with Retry-After': refuse(429, { 'retry-after': '7' }),
  '529': refuse(529),
  '500 and a page': refuse(500, { 'content-type': 'text/html' }, '<h1>Oh no</h1>'),
  'a connection that is reset': ({ response }) => void response.destroy(),
  'a stream that ends before it began': ({ response }) => void response.writeHead(200).end(),
  'an event that is no JSON': ({ response }) => void response.writeHead(200).end('data: {"cho\n\n'),
  'an error as the first event': ({ response }) =>
    void response.writeHead(200).end('data: {"error":{"message":"No."}}\n\n'),
  'no headers': () => {},
  'headers and nothing more': ({ response }) => response.writeHead(200).flushHeaders(),
};

const toolCall = (fields: object) => {
  const choice = { index: 0, delta: { tool_calls: [{ index: 0, ...fields }] } };
  return `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
};

/** The client has heard something. */
const AFTER: Record<string, Fault> = {
  'a stream that is cut in text': ({ response }) => void response.end(),
  'a connection that is reset in text': ({ response }) => {
    setImmediate(() => response.destroy());
  },
  'a stream that is cut in a tool call': ({ response }) => {
    const fn = { name: 'ls', arguments: '{"path": "a' };
    response.end(toolCall({ id: 'c', type: 'function', function: fn }));
  },
  'an error in the stream': ({ response }) =>
    void response.end('data: {"error":{"message":"Out of memory."}}\n\n'),
  'malformed JSON': ({ response }) => void response.end('data: {"choices":[{"delta":\n\n'),
  'half a character': ({ response }) => {
    const bytes = Buffer.from(chunkOf('🌞'));
    response.end(bytes.subarray(0, bytes.indexOf(0xf0) + 2));
  },
  'an end without a reason': ({ response }) => void response.end('data: [DONE]\n\n'),
  'a stall in text': () => {},
};

/** Each way to ask, to the end of the answer; resolves to its text. */
const ASKS: Record<string, (words: string) => Promise<string>> = {
  'chat, whole': async (content) => {
    const messages = [{ role: 'user' as const, content }];
    const answer = await openai.chat.completions.create({ model: 'm', messages });
    return answer.choices[0].message.content ?? '';
  },
  'chat, streamed': async (content) => {
    const messages = [{ role: 'user' as const, content }];
    const answer = openai.chat.completions.stream({ model: 'm', messages });
    return (await answer.finalChatCompletion()).choices[0].message.content ?? '';
  },
  'responses, whole': async (input) =>
    (await openai.responses.create({ model: 'm', input, store: false })).output_text,
  'responses, streamed': async (input) => {
    const answer = openai.responses.stream({ model: 'm', input, store: false });
    const { status, error, output_text } = await answer.finalResponse();
    // This client hands over what failed instead of throwing it.
    if (status === 'failed')
      throw new OpenAI.APIError(502, error ?? undefined, undefined, undefined);
    return output_text;
  },
  'messages, whole': async (content) => {
    const messages = [{ role: 'user' as const, content }];
    const answer = await anthropic.messages.create({ model: 'm', max_tokens: 50, messages });
    return answer.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
  },
  'messages, streamed': async (content) => {
    const messages = [{ role: 'user' as const, content }];
    const answer = anthropic.messages.stream({ model: 'm', max_tokens: 50, messages });
    return await answer.finalText();
  },
};

for (const [name, fault] of Object.entries(BEFORE)) {
  test(`${name}: a status that says when to try again`, async () => {
    const { errors, asked } = await outcomes(fault, name);
    for (const [way, error] of errors) {
      assert.ok(error.status !== undefined && error.status >= 429, `${way}: ${error}`);
      const seconds = Number(error.headers?.get('retry-after'));
      assert.ok(seconds >= (name.includes('Retry-After') ? 7 : 1), `${way}: ${seconds}`);
    }
    assert.ok(asked <= errors.length * TRIES_MAX, `${asked} requests`);
    await assertServes();
  });
}

for (const [name, fault] of Object.entries(AFTER)) {
  test(`${name}: an error in the stream, a status where nothing was sent yet`, async () => {
    const { errors, asked } = await outcomes((call) => {
      begin(call);
      fault(call);
    }, name);
    for (const [way, error] of errors) {
      if (way.endsWith('whole')) assert.ok(error.status && error.status >= 500, `${way}: ${error}`);
      assert.match(error.message, /\S/, way);
    }
    assert.equal(asked, errors.length, 'what was begun is not asked again');
    await assertServes();
  });
}

test('a fault that passes is waited for by the clients themselves', async () => {
  const patient = { maxRetries: 2 };
  const [one, two] = [openai, anthropic];
  openai = one.withOptions(patient);
  anthropic = two.withOptions(patient);
  for (const [way, ask] of Object.entries(ASKS)) {
    let calls = 0;
    const answer = await serving(
      (call) => (calls++ === 0 ? refuse(429)(call) : finish(begun(call))),
      () => ask(`once: ${way}`),
    );
    assert.equal(answer, 'begun', way);
    assert.equal(calls, 2, way);
  }
  [openai, anthropic] = [one, two];
});

/** What came of asking in every way at once, all of which must fail. */
async function outcomes(
  fault: Fault,
  words: string,
): Promise<{
  errors: [way: string, error: InstanceType<typeof OpenAI.APIError>][];
  asked: number;
}> {
  const before = engine.calls.length;
  const errors = await serving(fault, () =>
    Promise.all(
      Object.entries(ASKS).map(async ([way, ask]) => {
        const error = await ask(words).then(
          (text) => assert.fail(`${way} was answered: ${text}`),
          (thrown: unknown) => thrown,
        );
        const isKnown = error instanceof OpenAI.APIError || error instanceof Anthropic.APIError;
        assert.ok(isKnown, `${way}: ${error}`);
        return [way, error] as [string, InstanceType<typeof OpenAI.APIError>];
      }),
    ),
  );
  return { errors, asked: engine.calls.length - before };
}

/** Does that to every request that reaches the engine until `run` is over. */
async function serving<T>(behave: (call: EngineCall) => void, run: () => Promise<T>): Promise<T> {
  let handled = engine.calls.length;
  const timer = setInterval(() => {
    while (handled < engine.calls.length) behave(engine.calls[handled++]);
  }, 2);
  try {
    return await run();
  } finally {
    clearInterval(timer);
  }
}

async function assertServes(): Promise<void> {
  await until('nothing runs any more', async () => {
    const { running, waiting } = await stack.snapshot();
    return running + waiting === 0;
  });
  await until('the engine is well', async () => (await get(`${stack.url}/health`)).status === 200);
  const answer = await serving(
    (call) => finish(begun(call)),
    () => ASKS['chat, streamed']('Well?'),
  );
  assert.equal(answer, 'begun');
}

function begun(call: EngineCall): EngineCall {
  begin(call);
  return call;
}
