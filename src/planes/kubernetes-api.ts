/**
 * Questions to the API of a Kubernetes cluster, as a pod asks them: over HTTPS, with the token and the
 * certificates of its service account, read again each time since both are written anew while it runs.
 */
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { certificateProblem } from '../base/certificate.ts';

export interface KubernetesApiGiven {
  /** Its address; http only where a proxy on this machine does the rest. */
  server: string;
  tokenFile: string;
  /** Certificates that may have issued its own. */
  caFile: string;
}

/** The API does not know any more what happened since the version that was named. */
export class VersionGone extends Error {}

/** More in one line is no answer of this API. */
const LINE_CHARACTERS_MAX = 16 * 1024 * 1024;
const LIST_CHARACTERS_MAX = 64 * 1024 * 1024;
/** Of a refusal: enough to see whose it is. */
const REFUSAL_CHARACTERS_MAX = 300;

export class KubernetesApi {
  readonly #given: KubernetesApiGiven;

  constructor(given: KubernetesApiGiven) {
    this.#given = given;
  }

  /** Throws a sentence, also where it answers with anything but 200. */
  async json(path: string, signal: AbortSignal): Promise<unknown> {
    try {
      return JSON.parse(await textOf(await this.#ask(path, signal), LIST_CHARACTERS_MAX));
    } catch (error) {
      throw this.#inWords(error);
    }
  }

  /** An answer that goes on and on, each line of it as JSON; ends as the answer ends. */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<unknown> {
    try {
      let rest = '';
      for await (const piece of (await this.#ask(path, signal)).setEncoding('utf8')) {
        const lines = (rest + piece).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_CHARACTERS_MAX) throw new Error('it says too much at once');
        for (const line of lines) if (line.trim() !== '') yield JSON.parse(line);
      }
    } catch (error) {
      throw this.#inWords(error);
    }
  }

  async #ask(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const { server, tokenFile, caFile } = this.#given;
    const url = new URL(server.replace(/\/+$/, '') + path);
    const isTls = url.protocol === 'https:';
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
    const trust = isTls ? { ca: await readFile(caFile) } : {};
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = isTls ? requestHttps : requestHttp;
      // A connection of its own: one that was cut is noticed by nobody else.
      const options = { headers, signal, agent: false, ...trust } as const;
      request(url, options, resolve).on('error', reject).end();
    });
    if (response.statusCode === 200) return response;
    throw this.#refused(response.statusCode ?? 0, await textOf(response, LIST_CHARACTERS_MAX));
  }

  #refused(status: number, body: string): Error {
    if (status === 410) return new VersionGone('what happened since is not known any more');
    if (status === 401) {
      return new Error(`it does not take the token in ${this.#given.tokenFile}`);
    }
    if (status === 403) {
      return new Error(
        'the service account may not look: grant it get, list and watch on endpointslices of the group discovery.k8s.io',
      );
    }
    return new Error(`it answers ${status}: ${body.slice(0, REFUSAL_CHARACTERS_MAX)}`);
  }

  #inWords(error: unknown): Error {
    const { code, path } = error as NodeJS.ErrnoException;
    if (path !== undefined) return new Error(`${path} cannot be read (${code})`);
    if (code === 'ABORT_ERR') return new Error('it does not answer in time');
    const problem = certificateProblem(code);
    if (problem !== undefined) return new Error(problem);
    return code === undefined ? (error as Error) : new Error(`it cannot be reached (${code})`);
  }
}

async function textOf(response: IncomingMessage, charactersMax: number): Promise<string> {
  let text = '';
  for await (const piece of response.setEncoding('utf8')) {
    text += piece;
    if (text.length > charactersMax) throw new Error('it says too much at once');
  }
  return text;
}
