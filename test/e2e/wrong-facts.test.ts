/**
 * A fleet in which little is as its configuration says: two workers whose events were exchanged, one
 * behind a proxy that holds streams back, one that sleeps and one that nobody ever met. Answers stay right,
 * what is wrong is not believed for long, and `doctor` names each.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asked, introduction, standIn } from '../engine-stand-in.ts';
import { post, streamChat } from './client.ts';
import { demoModel, runToEnd, Stack, startWorker, until, write } from './stack.ts';

const OBSERVATIONS = 5;
/** Of each answer that is held back. */
const WORDS = 50;
const HELD_MS = 700;
const PROMPT = 'the king and the other king of the rings '.repeat(30);

test('exchanged events, streams held back, one that sleeps, one not there: named, and not believed', async (t) => {
  const asleep = introduction('vllm');
  asleep['GET /metrics'] = String(asleep['GET /metrics']).replace(
    'sleep_state="awake"} 1.0',
    'sleep_state="awake"} 0.0',
  );
  const [a, b, model, vllm, buffered] = await Promise.all([
    startWorker(['--engine=sim']),
    startWorker(['--engine=sim']),
    demoModel(),
    standIn(t, asleep),
    standIn(t, introduction('openai')),
  ]);
  buffered.answer = heldBack;
  const exchanged = [
    [a.card, b.card],
    [b.card, a.card],
  ].map(([own, other]) => {
    const { endpoint, replay } = other.events ?? assert.fail('it tells events');
    return `  - {url: '${own.url}', events: '${endpoint}', replay: '${replay}'}`;
  });
  const config = [
    'listen: {port: 0}',
    `limits: {confidenceObservationsMin: ${OBSERVATIONS}}`,
    'models:',
    `  - {name: demo, path: '${model}'}`,
    'workers:',
    ...exchanged,
    `  - {url: '${vllm.url}', kind: vllm}`,
    `  - {url: '${buffered.url}', kind: openai, engineModel: gpt-5.1, model: big}`,
    "  - {url: 'http://127.0.0.1:1'}",
  ];
  const stack = new Stack(['serve', '-c', write('wrong-facts.yaml', config.join('\n'))]);
  await until('it says where it serves', () => {
    if (stack.hasEnded) assert.fail(`serve ended at once: ${stack.stderr}`);
    stack.url = /serves on (http\S+)/.exec(stack.stdout)?.[1] ?? '';
    return stack.url !== '';
  });
  await until('both are exact, as far as anybody knows', async () => {
    const { workers } = await stack.snapshot();
    return workers.length === 3 && workers.filter(({ mode }) => mode === 'exact').length === 2;
  });
  // Each answers itself alone, so that whatever its events say is the other's.
  const exact = (await stack.snapshot()).workers.filter(({ mode }) => mode === 'exact');
  const [{ id: victim }]: { id: string }[] = exact;
  const body = { model: 'demo', prompt: PROMPT, max_tokens: 2, temperature: 0 };
  const texts = new Set<string>();
  for (let i = 0; i <= OBSERVATIONS + 1; i++) {
    const routing = { worker: victim };
    const {
      status,
      text,
      body: said,
    } = await post<{ choices: { text: string }[] }>(`${stack.url}/v1/completions`, {
      ...body,
      nvext: { routing },
    });
    assert.equal(status, 200, text);
    texts.add(said.choices[0].text);
  }
  assert.equal(texts.size, 1);
  for (let i = 0; i < 3; i++) {
    const chat = { model: 'big', messages: [{ role: 'user', content: 'Go on.' }] };
    const { text, errors } = await streamChat(stack.url, chat);
    assert.deepEqual([text, errors], ['word '.repeat(WORDS), []]);
  }
  const { workers, missing } = await stack.snapshot();
  assert.equal(workers.find(({ id }) => id === victim)?.mode, 'predicted');
  assert.equal(missing.length, 2);
  assert.match(stack.stderr, new RegExp(`${victim} rarely has cached what its KV events say`));

  const { code, stdout } = await runToEnd(['doctor', `--url=${stack.url}`, '--json']);
  assert.equal(code, 1);
  const { findings } = JSON.parse(stdout) as {
    findings: { about: string; check: string; well: boolean; says: string }[];
  };
  const wrong = (about: string, check: string) =>
    findings.find((one) => one.about === about && one.check === check && !one.well)?.says ?? '';
  assert.match(wrong(victim, 'KV events'), /are they its own\? Compare .*events:/);
  const held = workers.find(({ about }) => about.url === buffered.url);
  assert.match(wrong(held?.id ?? '', 'streams'), /holds streams back.*proxy_buffering off/);
  assert.match(wrong(vllm.url, 'reachable'), /never met: it sleeps.*POST \/wake_up/);
  assert.match(
    wrong('http://127.0.0.1:1', 'reachable'),
    /never met: The engine could not be reached/,
  );
  await stack.stop();
});

/** As a proxy does that hands on what is whole. */
function heldBack({ response }: Asked): void {
  const chunk = (choice: object) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`;
  const words = Array.from({ length: WORDS }, () => chunk({ delta: { content: 'word ' } }));
  const last = `${chunk({ delta: {}, finish_reason: 'stop' })}data: [DONE]\n\n`;
  setTimeout(() => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(words.join('') + last);
  }, HELD_MS);
}
