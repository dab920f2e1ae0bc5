import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { FetchOptions } from './fetch-model.ts';
import { fetchModel } from './fetch-model.ts';
import { hubEndpoint } from './hub.ts';
import { ModelError } from './model-error.ts';

const root = mkdtempSync(join(tmpdir(), 'stator-fetch-'));
after(() => rmSync(root, { recursive: true }));

const FILE = { repository: 'someone/some-model', file: 'model.gguf' };
const CONTENT = Buffer.alloc(300_000, 'some weights, and more of them; ');
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');
let folders = 0;

/** How the hub behaves; what it was asked comes back in `asked`. */
interface Behaviour {
  ranges: boolean;
  sha256: string;
  /** Whether a HEAD states the checksum; else only the tree does. */
  linkedEtag: boolean;
  /** Bytes after which each connection breaks. */
  cutAfter: number;
  renamed: boolean;
  status: number;
  content: Buffer;
}

const GOOD: Behaviour = {
  ranges: true,
  sha256: SHA256,
  linkedEtag: true,
  cutAfter: Number.POSITIVE_INFINITY,
  renamed: false,
  status: 200,
  content: CONTENT,
};

/** Plays the hub: `resolve` redirects to `/storage`, as the hub redirects to another host. */
class FakeHub {
  readonly asked: string[] = [];
  readonly behaviour: Behaviour;
  readonly #server: Server;

  static async start(behaviour: Partial<Behaviour>): Promise<FakeHub> {
    const hub = new FakeHub({ ...GOOD, ...behaviour });
    await new Promise<void>((resolve) => hub.#server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = '', method = '', headers } = request;
    this.asked.push(`${method} ${url.split('?')[0]} ${headers.range ?? ''}`.trim());
    if (this.behaviour.status !== 200) response.writeHead(this.behaviour.status).end();
    else if (url.startsWith('/storage')) this.#store(headers.range, response);
    else if (url.startsWith('/api/models/')) this.#tree(response);
    else if (this.behaviour.renamed && url.startsWith('/someone/some-model/')) {
      response.writeHead(307, { location: url.replace('someone', 'new-name') }).end();
    } else this.#resolve(response);
  }

  #resolve(response: ServerResponse): void {
    const { linkedEtag, sha256, content } = this.behaviour;
    const linked = { 'x-linked-etag': `"${sha256}"`, 'x-linked-size': content.length };
    const storage = this.endpoint.replace('127.0.0.1', 'localhost');
    const location = `${storage}/storage`;
    response.writeHead(302, { location, ...(linkedEtag ? linked : {}) }).end();
  }

  #tree(response: ServerResponse): void {
    const { sha256, content } = this.behaviour;
    const lfs = { oid: sha256, size: content.length, pointerSize: 134 };
    response.end(JSON.stringify([{ path: 'README.md' }, { path: FILE.file, lfs }]));
  }

  #store(range: string | undefined, response: ServerResponse): void {
    const { ranges, content, cutAfter } = this.behaviour;
    const from = ranges ? Number(/\d+/.exec(range ?? '0')?.[0]) : 0;
    const body = content.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': body.length,
      ...(from > 0 && {
        'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
      }),
    });
    if (body.length <= cutAfter) response.end(body);
    else response.write(body.subarray(0, cutAfter), () => setTimeout(() => response.destroy(), 20));
  }
}

async function withHub(
  behaviour: Partial<Behaviour>,
  run: (hub: FakeHub, options: FetchOptions) => Promise<void>,
): Promise<void> {
  const hub = await FakeHub.start(behaviour);
  const options = {
    folder: join(root, String(folders++)),
    endpoint: hub.endpoint,
    retryWaitMs: 1,
    onProgress: () => {},
    signal: new AbortController().signal,
  };
  try {
    await run(hub, options);
  } finally {
    hub.stop();
  }
}

async function refused(options: FetchOptions, words: RegExp): Promise<void> {
  await assert.rejects(fetchModel(FILE, options), (thrown: unknown) => {
    assert.ok(thrown instanceof ModelError, String(thrown));
    assert.match(thrown.message, words);
    assert.match(thrown.message, /^[^\n]+\.$/);
    return true;
  });
}

test('a file is fetched through its redirect, checked and kept for its owner alone', async () => {
  await withHub({}, async (hub, options) => {
    const told: number[] = [];
    const onProgress = (bytes: number, total: number) => {
      told.push(bytes);
      assert.equal(total, CONTENT.length);
    };
    const path = await fetchModel(FILE, { ...options, onProgress });
    assert.deepEqual(readFileSync(path), CONTENT);
    assert.deepEqual(readdirSync(options.folder), [FILE.file]);
    if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(told.at(-1), CONTENT.length);
    assert.deepEqual(
      told,
      [...told].sort((a, b) => a - b),
    );

    const before = hub.asked.length;
    assert.equal(await fetchModel(FILE, options), path);
    assert.equal(hub.asked.length, before, 'what is there is not asked for');
  });
});

test('a connection cut in the middle is continued where it stopped', async () => {
  await withHub({ cutAfter: 100_000 }, async (hub, options) => {
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
    const ranges = hub.asked.filter((it) => it.startsWith('GET /storage'));
    assert.deepEqual(ranges, [
      'GET /storage',
      'GET /storage bytes=100000-',
      'GET /storage bytes=200000-',
    ]);
  });
});

test('a part left by an earlier run is continued', async () => {
  await withHub({}, async (hub, options) => {
    mkdirSync(options.folder);
    writeFileSync(join(options.folder, `${FILE.file}.part`), CONTENT.subarray(0, 250_000));
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
    assert.ok(hub.asked.includes('GET /storage bytes=250000-'));
  });
});

test('a part that is longer than the file is dropped', async () => {
  await withHub({}, async (_, options) => {
    mkdirSync(options.folder);
    writeFileSync(join(options.folder, `${FILE.file}.part`), Buffer.alloc(CONTENT.length + 1));
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
  });
});

test('without ranges it starts again, and gives up when nothing new comes', async () => {
  await withHub({ ranges: false }, async (_, options) => {
    mkdirSync(options.folder);
    writeFileSync(join(options.folder, `${FILE.file}.part`), Buffer.alloc(1000));
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
  });
  await withHub({ ranges: false, cutAfter: 100_000 }, async (_, options) => {
    await refused(options, /cannot be reached .*check the network/);
  });
});

test('a wrong checksum removes the part and says so', async () => {
  await withHub({ sha256: 'ab'.repeat(32) }, async (_, options) => {
    await refused(options, /arrived damaged.*the partial file was removed; run the command again/);
    assert.deepEqual(readdirSync(options.folder), []);
  });
});

test('the tree states the checksum where a HEAD does not; a renamed repository is followed', async () => {
  await withHub({ linkedEtag: false }, async (hub, options) => {
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
    assert.ok(hub.asked.includes('GET /api/models/someone/some-model/tree/main'));
  });
  await withHub({ renamed: true }, async (hub, options) => {
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
    assert.ok(!hub.asked.some((it) => it.includes('/api/')));
  });
  await withHub({ linkedEtag: false, sha256: 'short' }, async (_, options) => {
    await refused(options, /states no checksum/);
  });
});

test('refusals are one sentence each', async () => {
  const cases: [number, RegExp][] = [
    [404, /has no someone\/some-model\/model.gguf; give/],
    [401, /without an account/],
    [403, /without an account/],
    [503, /answered 503 .*; try again later/],
  ];
  for (const [status, words] of cases) {
    await withHub({ status }, async (_, options) => refused(options, words));
  }
});

test('offline is told at once, and a part stays for later', async () => {
  const hub = await FakeHub.start({});
  const { endpoint } = hub;
  hub.stop();
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  const part = join(folder, `${FILE.file}.part`);
  writeFileSync(part, 'some');
  const signal = new AbortController().signal;
  const options = { folder, endpoint, retryWaitMs: 1, onProgress: () => {}, signal };
  await refused(options, /cannot be reached \(ECONNREFUSED\); check the network/);
  assert.ok(existsSync(part));
});

test('a full disk is told, and a folder that cannot be written', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('no /dev/full');
  await withHub({}, async (_, options) => {
    mkdirSync(options.folder);
    symlinkSync('/dev/full', join(options.folder, `${FILE.file}.part`));
    await refused(options, /is full; make room/);
  });
  await withHub({}, async (_, options) => {
    writeFileSync(options.folder, '');
    await refused(options, /cannot be written \(E(EXIST|NOTDIR)\); set STATOR_CACHE/);
  });
});

test('a second process waits its turn; a lock without its process is ignored', async () => {
  await withHub({}, async (_, options) => {
    mkdirSync(options.folder);
    const lock = join(options.folder, `${FILE.file}.lock`);
    writeFileSync(lock, String(process.ppid));
    await refused(options, /is being fetched by process \d+; wait/);
    writeFileSync(lock, '999999999');
    assert.deepEqual(readFileSync(await fetchModel(FILE, options)), CONTENT);
    assert.deepEqual(readdirSync(options.folder), [FILE.file]);
  });
});

test('more bytes than stated are refused', async () => {
  await withHub({}, async (hub, options) => {
    const content = Buffer.concat([CONTENT, CONTENT]);
    const server = hub.behaviour;
    const facts = { content: server.content };
    Object.defineProperty(server, 'content', {
      get: () => (hub.asked.at(-1)?.includes('/storage') ? content : facts.content),
    });
    await refused(options, /sent more than the 300000 bytes it stated/);
  });
});

test('an abort ends it, and leaves what came for later', async () => {
  await withHub({ cutAfter: 100_000 }, async (_, options) => {
    const controller = new AbortController();
    const onProgress = (bytes: number) => {
      if (bytes >= 150_000) controller.abort();
    };
    const aborted = { ...options, onProgress, signal: controller.signal };
    await assert.rejects(fetchModel(FILE, aborted), { name: 'AbortError' });
    // What was on its way to the disk may be lost, what was there is not.
    assert.ok(statSync(join(options.folder, `${FILE.file}.part`)).size > 0);
    assert.deepEqual(readdirSync(options.folder), [`${FILE.file}.part`]);
  });
});

test('HF_ENDPOINT names another hub', () => {
  assert.equal(hubEndpoint({ HF_ENDPOINT: 'http://mirror.test//' }), 'http://mirror.test');
  assert.equal(hubEndpoint({ HF_ENDPOINT: '' }), hubEndpoint({}));
});
