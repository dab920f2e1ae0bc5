/** Calls against a server that answers what each test says, in the order that waits allow. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { drive, type Load, type ScriptedSession, type ScriptedWait } from './drive.ts';
import { EndpointError, meet, resetCache } from './endpoint.ts';

test('a call is sent when all it waits for has come, sub-agents beside each other', async () => {
  // 0 spawns 1 and 2, which run at once; 3 reads both; 4 follows the sending of 3, not its end.
  const waits = [[], [ended(0)], [ended(0)], [ended(1), ended(2)], [sent(3)]];
  const log: string[] = [];
  const released = new Map<string, () => void>();
  const server = await Server.start(async ({ prompt }) => {
    log.push(`> ${prompt}`);
    const together = prompt === '1' || prompt === '2' ? ['1', '2'] : ['3', '4'];
    if (prompt !== '0') await meeting(released, String(prompt), together);
    log.push(`< ${prompt}`);
    return { status: 200, chunks: answer({ prompt_tokens: 5, completion_tokens: 1 }) };
  });
  const results = await server.drive([session('s', waits)], { kind: 'closed', live: 1 });
  assert.equal(results.length, 5);
  assert.deepEqual(results.map(({ error }) => error).filter(Boolean), []);
  assert.deepEqual(log.slice(0, 2), ['> 0', '< 0']);
  const at = (line: string) => log.indexOf(line);
  assert.ok(Math.max(at('> 1'), at('> 2')) < Math.min(at('< 1'), at('< 2')), 'both run at once');
  assert.ok(at('> 3') > Math.max(at('< 1'), at('< 2')), 'a join waits for both');
  assert.ok(at('> 4') < at('< 3'), 'it waits for the sending alone');
  await server.close();
});

test('where a call fails its session ends, and the others go on', async () => {
  const server = await Server.start(async ({ prompt, session }) =>
    session === 'bad' && prompt === '1'
      ? { status: 429, chunks: ['{"error":{"message":"too much"}}'] }
      : { status: 200, chunks: answer({ prompt_tokens: 5, completion_tokens: 1 }) },
  );
  const line = [[], [ended(0)], [ended(1)]];
  const sessions = [session('bad', line), session('good', line)];
  for (const load of [LOAD, { kind: 'open', speedup: 1e6 }] as const) {
    const results = await server.drive(sessions, load);
    const of = (id: string) => results.filter((one) => one.session === id);
    assert.deepEqual(
      of('bad').map(({ error, refused }) => [error !== undefined, refused]),
      [
        [false, false],
        [true, true],
      ],
    );
    assert.equal(of('good').length, 3);
  }
  await server.close();
});

test('what a server tells of its cache is told; what it leaves out is not zero', async () => {
  const told = [undefined, null, {}, { cached_tokens: 0 }, { cached_tokens: 3 }];
  const server = await Server.start(async ({ prompt }) => {
    const prompt_tokens_details = told[Number(prompt)];
    const usage = { prompt_tokens: 5, completion_tokens: 1, prompt_tokens_details };
    return { status: 200, chunks: answer(usage) };
  });
  const results = await server.drive([session('s', [[], [], [], [], []])], LOAD);
  const found = [...results].sort((a, b) => a.sentMs - b.sentMs);
  assert.deepEqual(
    new Set(found.map(({ cachedTokens }) => cachedTokens)),
    new Set([undefined, 0, 3]),
  );
  assert.ok(found.every(({ promptTokens, firstMs }) => promptTokens === 5 && firstMs));
  await server.close();
});

test('a stream that breaks off, or ends in an error, is no answer', async () => {
  const endings = [
    ['data: {"choices":[{"text":"a"}]}\n\n'],
    ['data: {"error":{"message":"ow"}}\n\n'],
  ];
  const server = await Server.start(async ({ prompt }) => ({
    status: 200,
    chunks: endings[Number(prompt)],
  }));
  for (const [i, words] of [/broke off/, /ow/].entries()) {
    const [first] = await server.drive([session('s', [[]], i)], LOAD);
    assert.match(first.error ?? '', words);
  }
  await server.close();
});

test('a server is asked once what it takes', async () => {
  const takes = { ids: true, forced: true, ignoreEos: true, tokenizes: true };
  const cases = [
    takes,
    { ...takes, ids: false, forced: false },
    { ...takes, tokenizes: false },
    { ...takes, ignoreEos: false, forced: false },
  ];
  for (const can of cases) {
    const server = await Server.start(async (body, path) => {
      if (path === '/v1/models') return json({ data: [{ id: 'm' }] });
      if (path === '/tokenize') {
        const tokens = String(body.prompt)
          .trim()
          .split(' ')
          .map((_, i) => i + 100);
        return can.tokenizes ? json({ tokens }) : { status: 404, chunks: ['<html>'] };
      }
      if (path !== '/v1/completions') return { status: 404, chunks: [''] };
      if (body.ignore_eos && !can.ignoreEos) return { status: 400, chunks: ['{}'] };
      if (Array.isArray(body.prompt) && !can.ids) return { status: 422, chunks: ['{}'] };
      const { forced_output: forced } = (body.nvext ?? {}) as { forced_output?: string };
      return json({ choices: [{ text: can.forced && forced ? forced : 'what I like' }] });
    });
    const found = await meet(`${server.url}/v1/`);
    assert.equal(found.model, 'm');
    assert.equal(found.ids !== undefined, can.ids && can.tokenizes);
    assert.deepEqual([found.forced, found.ignoresEos], [can.forced, can.ignoreEos]);
    await assert.rejects(resetCache(found), /cannot be emptied .*answers 404.*--no-reset/);
    await server.close();
  }
});

test('a server that cannot be used is said in one sentence', async () => {
  const server = await Server.start(async () => ({ status: 401, chunks: ['{}'] }));
  await assert.rejects(meet(server.url), (error: Error) => {
    assert.ok(error instanceof EndpointError);
    assert.match(error.message, /asks for a key/);
    return true;
  });
  await server.close();
  await assert.rejects(meet(server.url), /Nothing answers at/);
});

const LOAD: Load = { kind: 'closed', live: 2 };

function ended(on: number): ScriptedWait {
  return { on, delayMs: 0, onDispatch: false };
}

function sent(on: number): ScriptedWait {
  return { on, delayMs: 0, onDispatch: true };
}

/** Prompts are the calls' numbers. */
function session(id: string, waits: readonly ScriptedWait[][], first = 0): ScriptedSession {
  return {
    id,
    startMs: 0,
    calls: waits.map((list, i) => ({
      path: '/v1/completions',
      waits: list,
      body: () => ({ prompt: String(first + i), session: id }),
    })),
  };
}

function answer(usage: object): string[] {
  const first = { choices: [{ text: 'a', finish_reason: 'stop' }] };
  return [first, { choices: [], usage }].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
}

function json(value: object): Said {
  return { status: 200, chunks: [JSON.stringify(value)] };
}

/** Nobody goes on before all are there. */
async function meeting(
  arrived: Map<string, () => void>,
  name: string,
  names: readonly string[],
): Promise<void> {
  await new Promise<void>((resolve) => {
    arrived.set(name, resolve);
    if (names.every((one) => arrived.has(one))) for (const one of names) arrived.get(one)?.();
  });
}

interface Said {
  status: number;
  chunks: readonly string[];
}

type Answering = (body: Record<string, unknown>, path: string) => Promise<Said>;

class Server {
  readonly url: string;
  readonly close: () => Promise<void>;

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.close = close;
  }

  static async start(answering: Answering): Promise<Server> {
    const respond = async (request: IncomingMessage, response: ServerResponse) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const { status, chunks } = await answering(body, request.url ?? '');
      response.writeHead(status);
      for (const chunk of chunks) response.write(chunk);
      response.end();
    };
    const server = createServer((request, response) => void respond(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    return new Server(`http://127.0.0.1:${port}`, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
  }

  drive(sessions: readonly ScriptedSession[], load: Load) {
    const none = { headers: {}, overlay: () => ({}), onProgress: () => {} };
    return drive({ ...none, url: `${this.url}/`, sessions, load, run: 'test' });
  }
}
