/** A Kubernetes API as far as endpoint slices go: lists, watches, and everything that may befall a watch. */
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

const TLS = 'test/fixtures/tls';
export const CA_FILE = `${TLS}/authority.crt`;

export interface SliceOf {
  pods: { name: string; address: string; conditions?: object }[];
  port?: number;
}

export class FakeKubernetes {
  url = '';
  /** Whose token counts. */
  token = 'first';
  /** In place of what is asked for. */
  refuses: { status: number; body: string } | undefined;
  /** What was asked, in order: `list`, or `watch` and from which version on. */
  readonly asked: string[] = [];
  readonly #slices = new Map<string, object>();
  readonly #watching = new Set<ServerResponse>();
  #version = 100;
  /** What was told, for those who watch from an earlier version on. */
  readonly #history: { version: number; line: string }[] = [];

  static async start(t: TestContext): Promise<FakeKubernetes> {
    const api = new FakeKubernetes();
    const file = (name: string) => readFileSync(`${TLS}/${name}`);
    const certificate = { key: file('server.key'), cert: file('server.crt') };
    const server = createServer(certificate, (request, response) => api.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    api.url = `https://localhost:${(server.address() as AddressInfo).port}`;
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return api;
  }

  get watches(): number {
    return this.#watching.size;
  }

  /** Puts a slice in place and tells whoever watches; `silently`: the API forgets that it did. */
  put(name: string, { pods, port = 8000 }: SliceOf, how?: 'silently'): void {
    const type = this.#slices.has(name) ? 'MODIFIED' : 'ADDED';
    const slice = {
      metadata: { name, resourceVersion: String(++this.#version) },
      addressType: 'IPv4',
      ports: [{ name: 'http', port }],
      endpoints: pods.map(({ name: pod, address, conditions = { ready: true } }) => ({
        ...{ addresses: [address], conditions },
        targetRef: { kind: 'Pod', name: pod, uid: `uid-${pod}` },
      })),
    };
    this.#slices.set(name, slice);
    if (how !== 'silently') this.#tell({ type, object: slice });
  }

  delete(name: string): void {
    const slice = this.#slices.get(name) as { metadata: object };
    this.#slices.delete(name);
    const metadata = { ...slice.metadata, resourceVersion: String(++this.#version) };
    this.#tell({ type: 'DELETED', object: { ...slice, metadata } });
  }

  bookmark(): void {
    const resourceVersion = String(++this.#version);
    this.#tell({ type: 'BOOKMARK', object: { metadata: { resourceVersion } } });
  }

  /** As the API says within a watch that it has forgotten. */
  forget(): void {
    const object = { kind: 'Status', code: 410, message: 'too old resource version' };
    this.say(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    this.end();
  }

  say(text: string): void {
    for (const response of this.#watching) response.write(text);
  }

  /** Watches end as after their time. */
  end(): void {
    for (const response of this.#watching) response.end();
  }

  /** Connections break in the middle of what they say. */
  cut(): void {
    for (const response of this.#watching) {
      response.write('{"type":"MODIF');
      response.destroy();
    }
  }

  #answer({ url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const asked = new URL(url, this.url);
    const version = asked.searchParams.get('resourceVersion');
    const isWatch = asked.searchParams.get('watch') === '1';
    this.asked.push(isWatch ? `watch ${version}` : 'list');
    const refusal = this.refuses ?? this.#mistakeOf(asked, headers.authorization);
    if (refusal !== undefined) {
      response.writeHead(refusal.status).end(refusal.body);
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    if (!isWatch) {
      const metadata = { resourceVersion: String(this.#version) };
      response.end(JSON.stringify({ metadata, items: [...this.#slices.values()] }));
      return;
    }
    response.flushHeaders();
    const missed = this.#history.filter((one) => one.version > Number(version));
    for (const { line } of missed) response.write(line);
    this.#watching.add(response);
    response.on('close', () => this.#watching.delete(response));
  }

  #mistakeOf(asked: URL, authorization: string | undefined) {
    const path = '/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices';
    const selects = asked.searchParams.get('labelSelector') === 'kubernetes.io/service-name=llm';
    if (authorization !== `Bearer ${this.token}`) return { status: 401, body: 'Unauthorized' };
    if (asked.pathname !== path || !selects) return { status: 404, body: asked.href };
    return undefined;
  }

  #tell(event: object): void {
    const line = `${JSON.stringify(event)}\n`;
    this.#history.push({ version: this.#version, line });
    this.say(line);
  }
}
