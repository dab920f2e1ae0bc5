import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Chat } from '../model/request.ts';
import { Script } from '../model/script.ts';
import type { Embedding, Engine, Job } from '../ports.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { DEMO_TEMPLATE } from '../weights/demo-template.ts';
import { AnswerFold } from '../wire/answer.ts';
import { parsed } from '../wire/parsed.ts';
import { ConnectionReset, ScriptedEngine } from './scripted.ts';

const tokens = toyTokens({ template: DEMO_TEMPLATE });

const CHAT: Chat = {
  model: 'm',
  messages: [{ role: 'user', content: [{ kind: 'text', text: 'read the file' }] }],
  tools: [{ name: 'read', description: undefined, parameters: { type: 'object' } }],
  toolChoice: { kind: 'auto' },
  thinking: undefined,
};

test('what a rule says reaches the client’s side as it was said', async () => {
  const rules = [
    { text: 'plain words, 日本語\n\nand two paragraphs' },
    { text: 'then this', reasoning: 'first this' },
    {
      text: 'I will look.',
      toolCalls: [
        {
          name: 'read',
          arguments: { path: 'a "quoted" \\ path', lines: [1, 2], deep: { x: null } },
        },
        { name: 'read', arguments: {} },
      ],
    },
  ];
  for (const rule of rules) {
    const fold = new AnswerFold();
    const answer = scripted([rule]).generate(jobOf({ kind: 'chat', chat: CHAT }), signal());
    const given = { parser: () => tokens.parser(CHAT) };
    for await (const part of parsed(answer, given)) fold.add(part);
    const blocks = fold.answer(undefined)?.blocks ?? [];
    const text = (kind: string) =>
      blocks
        .flatMap((block) => (block.kind === kind && 'text' in block ? [block.text] : []))
        .join('');
    assert.equal(text('text').trim(), rule.text);
    assert.equal(text('reasoning').trim(), rule.reasoning ?? '');
    const calls = blocks.flatMap((block) =>
      block.kind === 'toolCall'
        ? [{ name: block.name, arguments: JSON.parse(block.argumentsJson) as unknown }]
        : [],
    );
    assert.deepEqual(calls, rule.toolCalls ?? []);
  }
});

test('the first rule that matches the prompt’s end and is not used up answers, else the engine', async () => {
  const engine = scripted([
    { match: 'king$', times: 1, text: 'once' },
    { match: 'king$', text: 'again' },
  ]);
  const said = async (prompt: Job['prompt']) =>
    (await take(engine.generate(jobOf(prompt), signal()))).map(textOf).join('');
  assert.equal(await said({ kind: 'text', text: 'no queen' }), 'by itself');
  assert.equal(await said({ kind: 'tokens', ids: tokens.encode('the king') }), 'once');
  assert.equal(await said({ kind: 'text', text: 'the king' }), 'again');
  assert.equal(await said({ kind: 'text', text: 'a king, long ago' }), 'by itself');
});

test('each rule looks as far back from the prompt’s end as it says', async () => {
  const engine = scripted([
    { match: 'king', tailCharacters: 10, text: 'near' },
    { match: 'king', text: 'far' },
    { match: 'king', tailCharacters: 100_000, text: 'anywhere' },
  ]);
  const said = async (behind: number) => {
    const prompt = { kind: 'text' as const, text: `the king${'.'.repeat(behind)}` };
    return (await take(engine.generate(jobOf(prompt), signal()))).map(textOf).join('');
  };
  const places = {
    near: [0, 6],
    far: [7, 3_996],
    anywhere: [3_997, 99_996],
    'by itself': [99_997],
  };
  for (const [text, distances] of Object.entries(places)) {
    for (const behind of distances) assert.equal(await said(behind), text, `${behind} behind`);
  }
});

test('each fault comes after as many parts as it says, in its own way', async () => {
  const whole = { text: 'abcdef' };
  const fault = (kind: string, more: object = { afterParts: 2 }) =>
    scripted([{ ...whole, fault: { kind, ...more } }]).generate(jobOf(), signal());

  for (const [status, code] of [
    [503, 'queue_full'],
    [429, 'queue_full'],
    [500, 'engine_failed'],
    [400, 'invalid_request'],
  ] as const) {
    await assert.rejects(
      take(fault('status', { status })),
      (error: Error) => error instanceof GatewayError && error.code === code,
    );
  }
  await assert.rejects(
    take(fault('status', { status: 429, retryAfterS: 7 })),
    (error: Error) => error instanceof GatewayError && error.retryAfterUs === 7e6,
  );
  assert.deepEqual((await take(fault('cut'))).map(textOf), ['a', 'b']);
  const errors = await take(fault('error'));
  assert.deepEqual(
    errors.map(({ kind }) => kind),
    ['text', 'text', 'error'],
  );
  const before: Part[] = [];
  await assert.rejects(async () => {
    for await (const part of fault('reset')) before.push(part);
  }, ConnectionReset);
  assert.equal(before.length, 2);
});

test('a stall ends when the client leaves, also where it left before the stall', async () => {
  for (const leaveAt of [1, 2, undefined]) {
    const leaving = new AbortController();
    const rule = { text: 'abcdef', tokenDelayMs: 1, fault: { kind: 'stall', afterParts: 2 } };
    const answer = scripted([rule]).generate(jobOf(), leaving.signal);
    let parts = 0;
    const reading = (async () => {
      for await (const _ of answer) if (++parts === leaveAt) leaving.abort();
    })();
    if (leaveAt === undefined) {
      assert.equal(await settles(reading), 'open');
      leaving.abort();
    }
    assert.equal(await settles(reading), 'ended');
    assert.ok(parts <= 2);
  }
});

test('forced output stays forbidden to clients, though scripts use it', async () => {
  const answer = scripted([{ text: 'x' }]).generate({ ...jobOf(), forcedOutput: 'y' }, signal());
  await assert.rejects(
    take(answer),
    (error: Error) => error instanceof GatewayError && error.code === 'forbidden',
  );
});

/** Ended, or still open after everything that was due has run. */
async function settles(work: Promise<void>): Promise<'ended' | 'open'> {
  let state: 'ended' | 'open' = 'open';
  void work.then(() => {
    state = 'ended';
  });
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  return state;
}

function scripted(rules: unknown[]): ScriptedEngine {
  const clock = {
    nowUs: () => 0,
    wallMs: () => 0,
    after: (_us: number, run: () => void) => {
      const timer = setImmediate(run);
      return () => clearImmediate(timer);
    },
  };
  const script = Script.parse({ rules });
  return new ScriptedEngine({
    engine: new Parrot(),
    tokens,
    clock,
    script,
    allowForcedOutput: false,
  });
}

/** Says what it is forced to, a character at a time. */
class Parrot implements Engine {
  readonly worker = 'w' as WorkerId;

  async *generate({ forcedOutput }: Job): AsyncGenerator<Part> {
    const said = forcedOutput?.toString() ?? 'by itself';
    for (const text of said) yield { kind: 'text', text, tokens: 1 };
    const usage = { promptTokens: 1, outputTokens: said.length, cachedTokens: 0 };
    yield { kind: 'done', finish: { kind: 'stop' }, usage };
  }

  async embed(): Promise<Embedding> {
    throw new Error('a parrot makes nothing of words');
  }

  async resetCache(): Promise<void> {}

  async healthy(): Promise<boolean> {
    return true;
  }

  async report(): Promise<undefined> {}

  close(): void {}
}

function textOf(part: Part): string {
  return part.kind === 'text' ? part.text : '';
}

async function take(parts: AsyncIterable<Part>): Promise<Part[]> {
  const taken: Part[] = [];
  for await (const part of parts) taken.push(part);
  return taken;
}

function signal(): AbortSignal {
  return new AbortController().signal;
}

function jobOf(prompt: Job['prompt'] = { kind: 'text', text: 'x' }): Job {
  return plainJob({
    prompt,
  });
}
