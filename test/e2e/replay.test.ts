/** `stator replay` against servers that take more or less of what it would like. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Comparison } from '../../src/model/comparison.ts';
import { runToEnd, write } from './stack.ts';

/** Two sessions that begin a second apart, with a sub-agent in the first. */
const TRACE = write(
  'trace.jsonl',
  [
    { schema: 'stator.recording', version: 1, blockTokens: 16, clock: 'trace' },
    row('a1', 'a', 'main', 0, 40, ['1', '2']),
    row('h1', 'a', 'helper', 120, 20, ['1'], [['a1', 'spawn']]),
    row(
      'a2',
      'a',
      'main',
      240,
      56,
      ['1', '2', '3'],
      [
        ['a1', 'sequence'],
        ['h1', 'join'],
      ],
    ),
    row('b1', 'b', 'main', 1000, 24, ['9']),
  ]
    .map((line) => JSON.stringify(line))
    .join('\n'),
);

test('a server without ids, dictation or cached tokens is asked by text, and the report says all of it', async () => {
  const seen: Record<string, unknown>[] = [];
  const server = await plainServer(seen);
  for (const flags of [['--live=2'], ['--speedup=50']]) {
    seen.length = 0;
    const { code, stdout, stderr } = await runToEnd([
      ...['replay', TRACE, `--url=${server.url}/v1`, '--json', '--key=sk-secret', ...flags],
    ]);
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as Comparison;
    const [{ requests, failed, cachedNotReported }] = report.policies;
    assert.deepEqual([requests, failed, cachedNotReported], [4, 0, true]);
    assert.match(report.notes.join('\n'), /text of about as many tokens: ids are not taken/);
    assert.match(report.notes.join('\n'), /the server's own, of at most the recorded length/);
    assert.ok(!stdout.includes('sk-secret'));
    const sent = seen.filter(({ stream }) => stream === true);
    const words = sent.map(({ prompt }) => String(prompt).trim().split(' ').length);
    assert.deepEqual(
      [...words].sort((a, b) => a - b),
      [20, 24, 40, 56],
    );
    assert.deepEqual(new Set(sent.map(({ max_tokens: most }) => most)), new Set([5]));
    const of = (length: number) => sent.findIndex((_, i) => words[i] === length);
    assert.ok(of(40) < of(20) && of(20) < of(56), 'the sub-agent is spawned, and waited for');
  }
  await server.close();
});

test('what cannot be replayed is refused in one sentence, and a failed call is no success', async () => {
  const gone = 'http://127.0.0.1:9';
  const cases: [string[], number, RegExp][] = [
    [[TRACE, `--url=${gone}`], 1, /Nothing answers at/],
    [[TRACE, '--url=here'], 2, /is no address of a server/],
    [[TRACE, '--live=2', '--speedup=2'], 2, /not both/],
    [['--generate=coding-agents', '--speedup=2'], 2, /no common clock/],
    [[], 2, /Give one of/],
  ];
  for (const [flags, expected, sentence] of cases) {
    const { code, stderr } = await runToEnd(['replay', ...flags]);
    assert.equal(code, expected, flags.join(' '));
    assert.match(stderr, sentence);
    assert.doesNotMatch(stderr, /\n\s+at /);
  }
  const server = await plainServer([], ({ stream }) => stream === true);
  const { code, stdout } = await runToEnd(['replay', TRACE, `--url=${server.url}`, '--live=1']);
  assert.equal(code, 1);
  assert.match(stdout, /FAILED 2 × replay: HTTP 500: broken/, 'a session ends where a call fails');
  await server.close();
});

function row(
  id: string,
  session: string,
  thread: string,
  startMs: number,
  promptTokens: number,
  blocks: string[],
  waits: [string, string][] = [],
) {
  const counts = { serviceMs: 100, promptTokens, outputTokens: 5, keep: 0 };
  const delays = { delayMs: 20, trigger: 'completion' };
  return {
    ...{ id, session, thread, model: 'm', startMs, ...counts, blocks },
    waits: waits.map(([on, relation]) => ({ on, relation, ...delays })),
  };
}

/** OpenAI's completions and nothing else, as a hosted server has them. */
async function plainServer(
  seen: Record<string, unknown>[],
  fails: (body: Record<string, unknown>) => boolean = () => false,
) {
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    if (request.url === '/v1/models') return response.end('{"data":[{"id":"m"}]}');
    if (request.url !== '/v1/completions') return response.writeHead(404).end();
    const body = JSON.parse(text) as Record<string, unknown>;
    seen.push(body);
    const isStrange = 'ignore_eos' in body || typeof body.prompt !== 'string';
    if (isStrange) return response.writeHead(400).end('{"error":{"message":"unknown"}}');
    if (fails(body)) return response.writeHead(500).end('broken');
    const usage = { prompt_tokens: 10, completion_tokens: 5 };
    if (body.stream !== true) return response.end('{"choices":[{"text":"no"}]}');
    response.write('data: {"choices":[{"text":"no","finish_reason":"length"}]}\n\n');
    return response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}`, close };
}
