/**
 * What a long prompt does to those who are being answered: the gaps between tokens of running streams
 * before and during it, and how soon the server answers /health meanwhile.
 */
import { get } from 'node:http';
import type { ServerClient } from './server-client.ts';

export interface InterferenceInput {
  client: ServerClient;
  /** Ids that no prompt had before. */
  fresh: (count: number) => number[];
  streams: number;
  promptTokens: number;
  /** A stream has written so many tokens before the prompt comes. */
  quietTokens: number;
}

export interface Interference {
  /** Between two tokens of a stream, over all streams. */
  itlMs: { before: Percentiles; during: Percentiles };
  /** During the prefill. */
  healthMs: Percentiles;
  /** Of the long prompt. */
  ttftMs: number;
}

export interface Percentiles {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

const STREAM_CONTEXT = 64;
/** More than a stream writes while a long prompt is computed; it is broken off then. */
const STREAM_TOKENS = 8000;
const HEALTH_EVERY_MS = 10;

export async function interference(input: InterferenceInput): Promise<Interference> {
  const { client, fresh, promptTokens } = input;
  const leaving = new AbortController();
  const { stamps, ended, quiet } = openStreams(input, leaving.signal);
  await Promise.race([quiet, ended]);
  const fromMs = performance.now();
  const pulse = new HealthPulse(client.url);
  const long = await client.ask({ ids: fresh(promptTokens), tokens: 1 });
  const toMs = performance.now();
  const healthMs = await pulse.stop();
  leaving.abort();
  await ended;
  const gaps = (from: number, to: number) =>
    percentiles(stamps.flatMap((own) => gapsWithin(own, { from, to })));
  return {
    itlMs: { before: gaps(0, fromMs), during: gaps(fromMs, toMs) },
    healthMs: percentiles(healthMs),
    ttftMs: long.piecesMs[0] ?? long.endMs,
  };
}

/** `quiet`: each has written for a while. */
function openStreams(
  { client, fresh, streams, quietTokens }: InterferenceInput,
  signal: AbortSignal,
): { stamps: number[][]; ended: Promise<unknown>; quiet: Promise<void> } {
  const stamps: number[][] = Array.from({ length: streams }, () => []);
  let waiting = streams;
  let settle = () => {};
  const quiet = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const running = stamps.map((own) => {
    const onPiece = () => {
      own.push(performance.now());
      if (own.length === quietTokens && --waiting === 0) settle();
    };
    return client.ask({ ids: fresh(STREAM_CONTEXT), tokens: STREAM_TOKENS, signal, onPiece });
  });
  return { stamps, ended: Promise.all(running), quiet };
}

/** Asks for /health again and again. */
class HealthPulse {
  readonly #url: string;
  readonly #ms: number[] = [];
  readonly #ended: Promise<void>;
  #stopped = false;

  constructor(url: string) {
    this.#url = url;
    this.#ended = this.#run();
  }

  async stop(): Promise<number[]> {
    this.#stopped = true;
    await this.#ended;
    return this.#ms;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#ms.push(await healthMs(this.#url));
      await new Promise((resolve) => setTimeout(resolve, HEALTH_EVERY_MS));
    }
  }
}

function healthMs(url: string): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    get(`${url}/health`, (response) => {
      response.resume().on('end', () => resolve(performance.now() - startMs));
    }).on('error', reject);
  });
}

/** Between stamps of which the later lies within. */
export function gapsWithin(
  stamps: readonly number[],
  { from, to }: { from: number; to: number },
): number[] {
  const gaps: number[] = [];
  for (let i = 1; i < stamps.length; i++) {
    if (stamps[i] > from && stamps[i] <= to) gaps.push(stamps[i] - stamps[i - 1]);
  }
  return gaps;
}

export function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    Number(
      (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(3),
    );
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
