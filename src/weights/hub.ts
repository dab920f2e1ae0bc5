import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { request } from 'undici';
import { ModelError } from './model-error.ts';

export interface HubFile {
  repository: string;
  file: string;
}

/** As the hub's large-file storage knows it. */
export interface HubFileFacts {
  sha256: string;
  bytes: number;
}

const TIMEOUT_MS = 30_000;
const REDIRECTS_MAX = 5;
/** One page of the tree lists 1,000 entries; a longer answer is not the tree of a model. */
const TREE_BYTES_MAX = 4 * 1024 * 1024;

/** Where the hub is: HF_ENDPOINT, as its own clients read it, or the public one. */
export function hubEndpoint(env: Readonly<Record<string, string | undefined>>): string {
  return (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
}

/**
 * The Hugging Face hub, as far as fetching one public file needs it. `/<repository>/resolve/main/<file>`
 * redirects to storage; on the way a HEAD shows `x-linked-etag`, the file's SHA-256, and
 * `x-linked-size`. `/api/models/<repository>/tree/main` says the same as `lfs: {oid, size}`.
 */
export class Hub {
  readonly endpoint: string;

  constructor(endpoint: string) {
    this.endpoint = endpoint;
  }

  /** Throws `HubError`. */
  async facts(file: HubFile, signal: AbortSignal): Promise<HubFileFacts> {
    return (await this.#factsOfHead(file, signal)) ?? (await this.#factsOfTree(file, signal));
  }

  /**
   * The file's bytes from `from` on, or from its start where the hub knows no ranges: `start` says which.
   * Throws `HubError`; the body fails with whatever cut it.
   */
  async open(
    file: HubFile,
    from: number,
    signal: AbortSignal,
  ): Promise<{ start: number; body: Readable }> {
    const headers: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
    let url = this.#resolveUrl(file);
    for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
      const response = await this.#ask('GET', url, signal, headers);
      const next = redirection(response, url);
      if (next === undefined) return this.#ranged(response, file, from);
      await response.body.dump();
      url = next;
    }
    throw new HubError(`${this.endpoint} redirects in circles; check HF_ENDPOINT.`, 'lasting');
  }

  async #ranged(
    response: Dispatcher.ResponseData,
    file: HubFile,
    from: number,
  ): Promise<{ start: number; body: Readable }> {
    if (response.statusCode === 200) return { start: 0, body: response.body };
    const range = /^bytes (\d+)-/.exec(String(response.headers['content-range']));
    if (response.statusCode === 206 && range !== null && Number(range[1]) === from) {
      return { start: from, body: response.body };
    }
    throw await this.#refusal(response, file);
  }

  async #factsOfHead(file: HubFile, signal: AbortSignal): Promise<HubFileFacts | undefined> {
    let url = this.#resolveUrl(file);
    for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
      const response = await this.#ask('HEAD', url, signal, {});
      await response.body.dump();
      const sha256 = sha256In(response.headers['x-linked-etag']);
      const bytes = Number(response.headers['x-linked-size']);
      if (sha256 !== undefined && bytes > 0) return { sha256, bytes };
      // A renamed repository redirects within the hub; storage would not know the headers.
      const next = redirection(response, url);
      if (next === undefined || new URL(next).origin !== new URL(url).origin) {
        if (response.statusCode >= 400) throw await this.#refusal(response, file);
        return undefined;
      }
      url = next;
    }
    return undefined;
  }

  async #factsOfTree(file: HubFile, signal: AbortSignal): Promise<HubFileFacts> {
    const url = `${this.endpoint}/api/models/${file.repository}/tree/main?recursive=true`;
    const response = await this.#ask('GET', url, signal, {});
    if (response.statusCode !== 200) throw await this.#refusal(response, file);
    const entry = lfsEntry(await textOf(response.body), file.file);
    if (entry === undefined) {
      throw new HubError(
        `${this.endpoint} states no checksum of ${file.repository}/${file.file}; ` +
          'fetch it by hand and give --model its path.',
        'lasting',
      );
    }
    return entry;
  }

  async #ask(
    method: 'GET' | 'HEAD',
    url: string,
    signal: AbortSignal,
    headers: Record<string, string>,
  ): Promise<Dispatcher.ResponseData> {
    try {
      return await request(url, {
        method,
        headers: { 'accept-encoding': 'identity', 'user-agent': 'stator', ...headers },
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
        signal,
      });
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      throw this.unreachable(thrown);
    }
  }

  unreachable(thrown: unknown): HubError {
    const code = (thrown as NodeJS.ErrnoException).code ?? String(thrown);
    return new HubError(
      `${this.endpoint} cannot be reached (${code}); check the network, ` +
        'or give --model the path of a GGUF file on this machine.',
      'passing',
      thrown,
    );
  }

  async #refusal(response: Dispatcher.ResponseData, file: HubFile): Promise<HubError> {
    await response.body.dump();
    const name = `${file.repository}/${file.file}`;
    const status = response.statusCode;
    if (status === 404) {
      return new HubError(
        `${this.endpoint} has no ${name}; give --model another name, or a GGUF file's path.`,
        'lasting',
      );
    }
    if (status === 401 || status === 403) {
      return new HubError(
        `${this.endpoint} does not give out ${name} without an account; fetch it by hand.`,
        'lasting',
      );
    }
    return new HubError(
      `${this.endpoint} answered ${status} for ${name}; try again later.`,
      status >= 500 || status === 429 ? 'passing' : 'lasting',
    );
  }

  #resolveUrl({ repository, file }: HubFile): string {
    return `${this.endpoint}/${repository}/resolve/main/${encodeURIComponent(file)}`;
  }
}

/** Passing: asking again may help. */
export class HubError extends ModelError {
  readonly kind: 'passing' | 'lasting';

  constructor(sentence: string, kind: 'passing' | 'lasting', cause?: unknown) {
    super(sentence, { cause });
    this.kind = kind;
  }
}

function redirection(response: Dispatcher.ResponseData, url: string): string | undefined {
  const { location } = response.headers;
  if (response.statusCode < 300 || response.statusCode >= 400) return undefined;
  return typeof location === 'string' ? new URL(location, url).href : undefined;
}

/** Etags come quoted and may be marked weak; other files than large ones have a shorter one. */
function sha256In(etag: string | string[] | undefined): string | undefined {
  return /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(String(etag))?.[1];
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > TREE_BYTES_MAX) return '';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function lfsEntry(tree: string, path: string): HubFileFacts | undefined {
  let entries: unknown;
  try {
    entries = JSON.parse(tree);
  } catch {
    return undefined;
  }
  if (!Array.isArray(entries)) return undefined;
  const lfs = entries.find((entry) => entry?.path === path)?.lfs;
  const sha256 = sha256In(lfs?.oid);
  return sha256 !== undefined && lfs.size > 0 ? { sha256, bytes: Number(lfs.size) } : undefined;
}
