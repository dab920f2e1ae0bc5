/** Over real sockets: what all bodies take together is bounded, and given back. */
import assert from 'node:assert/strict';
import { type ClientRequest, request } from 'node:http';
import { after, test } from 'node:test';
import { replyJson } from './call.ts';
import { type Route, router } from './router.ts';
import { HttpServer } from './server.ts';

const BYTES = 40_000;
const servers: HttpServer[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

test('bodies beyond the common bound are refused with a time to come back, and room returns', async () => {
  const rig = await Rig.start();
  const kept = [rig.post(), rig.post()];
  await until(() => rig.held.length === 2);
  for (let i = 0; i < 3; i++) {
    const refused = await rig.post().answered;
    assert.equal(refused.status, 503);
    assert.match(refused.retryAfter ?? '', /^[1-9]\d*$/);
    assert.match(refused.text, /"message":"[^"]*memory[^"]*\."/);
  }
  rig.held[0]();
  assert.equal((await kept[0].answered).status, 200);
  const next = rig.post();
  await until(() => rig.held.length === 3);
  for (const answer of rig.held) answer();
  for (const { answered } of [kept[1], next]) assert.equal((await answered).status, 200);
});

test('who left gives its room back, whether its body came or not', async () => {
  const rig = await Rig.start();
  for (let i = 0; i < 5; i++) {
    const half = rig.post({ announced: BYTES, sent: BYTES - 1 });
    await until(() => rig.calls === 2 * i + 1);
    const whole = rig.post({ announced: BYTES / 2, sent: BYTES / 2 });
    await until(() => rig.held.length === i + 1);
    half.leave();
    whole.leave();
    await until(() => rig.aborted === 2 * i + 2);
  }
});

test('who announces much and sends little takes no room from others', async () => {
  const rig = await Rig.start();
  const lazy = Array.from({ length: 5 }, () => rig.post({ announced: BYTES, sent: 10 }));
  await until(() => rig.calls === 5);
  const honest = rig.post();
  await until(() => rig.held.length === 1);
  rig.held[0]();
  assert.equal((await honest.answered).status, 200);
  for (const { leave } of lazy) leave();
});

/** A server whose calls end when the test says so. */
class Rig {
  calls = 0;
  aborted = 0;
  /** Of the calls whose body came, in order. */
  readonly held: (() => void)[] = [];
  #port = 0;

  static async start(): Promise<Rig> {
    const rig = new Rig();
    const routes = new Map<string, Route>([['POST /keep', (call) => rig.#keep(call)]]);
    const server = new HttpServer(router(routes), {
      ...{ bodyBytesMax: BYTES, bodiesBytesMax: 2 * BYTES + 1000, readerUsMax: 60_000_000 },
      ...{ headersUsMax: 60_000_000, bodyUsMax: 60_000_000, shutdownUsMax: 100_000 },
    });
    servers.push(server);
    rig.#port = await server.listen('127.0.0.1', 0);
    return rig;
  }

  post(given = { announced: BYTES, sent: BYTES }) {
    const options = {
      ...{ port: this.#port, host: '127.0.0.1', method: 'POST', path: '/keep', agent: false },
      headers: { 'content-length': given.announced },
    };
    let client: ClientRequest | undefined;
    const answered = new Promise<{ status: number; retryAfter: string | undefined; text: string }>(
      (resolve) => {
        client = request(options, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => {
            const retryAfter = response.headers['retry-after'];
            resolve({ status: response.statusCode ?? 0, retryAfter, text });
          });
        });
        client.on('error', () => {}); // Those that leave, and bodies that nobody reads.
        client.write(Buffer.alloc(given.sent, 0x20));
      },
    );
    return { answered, leave: () => client?.destroy() };
  }

  async #keep(call: Parameters<Route>[0]): Promise<void> {
    this.calls++;
    call.signal.addEventListener('abort', () => this.aborted++);
    await call.body();
    await new Promise<void>((resolve) => this.held.push(resolve));
    replyJson(call.reply, 200, {});
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
