/**
 * `stator bench gateway`: as many open streams as descriptors allow, each with an event a second; and what
 * the gateway adds to the time to first token of agents' follow-up turns, beside a bare pipe that is
 * sent the same requests at the same times.
 */
import type { BenchReport } from '../figure.ts';
import { bodyOf } from './proxy.ts';
import { type Between, CHAT_PATH, KINDS, type Kind, type StreamRig, wait } from './rig.ts';
import { StreamClients } from './stream-clients.ts';

const STREAMS_MAX = 10_000;
/** Sockets of a stream in the gateway: the client's and the engine's. */
const SOCKETS = 2;
/** For all else: listening sockets, files, pipes. */
const OTHER_DESCRIPTORS = 200;
const HOLD_MS = 20_000;
const LADDER = [1, 10, 100, 1_000];
const LADDER_MS = 5_000;

const TURNS = { threads: 50, perS: 100, forS: 10, promptTokens: 50_000, newTokens: 400 };
const RUNS = 5;
/** Of the words below. */
const CHARACTERS_PER_TOKEN = 5;

interface Held {
  streams: number;
  failed: number;
  reason: string | undefined;
  eventsPerS: number;
  cpuUsPerEvent: number;
}

export async function benchGateway(
  rig: StreamRig,
  onProgress: (text: string) => void,
): Promise<BenchReport> {
  const streamLimit = Math.floor((rig.descriptors - OTHER_DESCRIPTORS) / SOCKETS);
  const streams = Math.min(STREAMS_MAX, streamLimit);
  const ladder = await rig.withEngine({ eventsPerS: 1, events: 1_000_000 }, async (start) => {
    const rows: Record<Kind, Held[]> = { pipe: [], gateway: [] };
    for (const count of [...LADDER, streams]) {
      for (const kind of KINDS) {
        onProgress(`${count} streams through the ${kind}`);
        const between = await start(kind);
        const ms = count === streams ? HOLD_MS : LADDER_MS;
        rows[kind].push(await hold(between, count, ms).finally(() => between.close()));
      }
    }
    return rows;
  });
  const most = ladder.gateway[ladder.gateway.length - 1];
  const turns = await rig.withEngine({ eventsPerS: 50, events: 2 }, async (start) => {
    const runs: Record<Kind, Latency[]> = { pipe: [], gateway: [] };
    for (let run = 0; run < RUNS; run++) {
      for (const kind of KINDS) {
        onProgress(
          `turns of ${TURNS.promptTokens} tokens through the ${kind}, ${run + 1} of ${RUNS}`,
        );
        const between = await start(kind);
        runs[kind].push(await askTurns(between).finally(() => between.close()));
      }
    }
    return runs;
  });
  const added = turns.gateway.map(({ p99 }, run) => rounded(p99 - turns.pipe[run].p99));
  return {
    bench: 'gateway',
    settings: { ...TURNS, eventsPerS: 1, descriptors: rig.descriptors },
    figures: {
      openStreams: most.streams,
      streamLimit,
      failedStreams: most.failed,
      addedTtftMsP99: Math.min(...added),
    },
    beside: {
      failure: most.reason ?? 'none',
      addedTtftMsP99: added,
      ttftMs: turns.gateway,
      barePipeTtftMs: turns.pipe,
      streams: ladder.gateway,
      barePipeStreams: ladder.pipe,
    },
  };
}

/** Opens so many streams and keeps them for so long. */
async function hold(between: Between, streams: number, ms: number): Promise<Held> {
  const clients = new StreamClients(between.port, CHAT_PATH);
  const { counts } = clients;
  try {
    await clients.open(streams, bodyOf);
    const [before, eventsBefore] = [await between.usage(), counts.events];
    const startMs = performance.now();
    await wait(ms);
    const [after, events] = [await between.usage(), counts.events - eventsBefore];
    const tookS = (performance.now() - startMs) / 1000;
    return {
      streams: counts.open,
      failed: counts.failed,
      reason: counts.reason,
      eventsPerS: Math.round(events / tookS),
      cpuUsPerEvent: rounded((after.cpuUs - before.cpuUs) / events),
    };
  } finally {
    clients.close();
  }
}

interface Latency {
  requests: number;
  failed: number;
  p50: number;
  p99: number;
}

/** Follow-up turns at even distances; the first turn of each thread is sent before and not counted. */
async function askTurns({ port }: Between): Promise<Latency> {
  const clients = new StreamClients(port, CHAT_PATH);
  const threads = Array.from({ length: TURNS.threads }, (_, i) => new AgentThread(i));
  const ms: number[] = [];
  let failed = 0;
  try {
    for (const thread of threads) await clients.ask(thread.next(), thread.headers);
    const running: Promise<void>[] = [];
    const startMs = performance.now();
    const count = TURNS.perS * TURNS.forS;
    for (let i = 0; i < count; i++) {
      const thread = threads[i % threads.length];
      const body = thread.next();
      const left = startMs + (1000 * i) / TURNS.perS - performance.now();
      if (left > 0) await wait(left);
      running.push(
        clients.ask(body, thread.headers).then((took) => {
          if (took === undefined) failed++;
          else ms.push(took);
        }),
      );
    }
    await Promise.all(running);
  } finally {
    clients.close();
  }
  ms.sort((a, b) => a - b);
  const at = (share: number) => rounded(ms[Math.floor(share * (ms.length - 1))] ?? 0);
  return { requests: ms.length, failed, p50: at(0.5), p99: at(0.99) };
}

/** A conversation that grows by an answer and a tool's result each turn, as its client sends it. */
class AgentThread {
  readonly #name: string;
  #messages: string;
  #turns = 0;

  constructor(index: number) {
    this.#name = `agent ${index}`;
    const system = words(`You are ${this.#name}.`, TURNS.promptTokens);
    this.#messages = JSON.stringify({ role: 'system', content: system });
    this.#add('user', 'Go on.');
  }

  /** As opencode names its session; the other agents send the like. */
  get headers(): Record<string, string> {
    return { 'x-session-id': this.#name };
  }

  next(): string {
    const turn = this.#turns++;
    if (turn > 0) {
      this.#add('assistant', ' and and');
      this.#add('user', words(`Result ${turn} for ${this.#name}:`, TURNS.newTokens));
    }
    return `{"model":"bench","stream":true,"max_tokens":2,"messages":[${this.#messages}]}`;
  }

  #add(role: string, content: string): void {
    this.#messages += `,${JSON.stringify({ role, content })}`;
  }
}

const WORDS = ['file', 'line', 'value', 'return', 'const', 'test', 'error', 'path', 'the', 'of'];

/** About so many tokens that look like nothing before them. */
function words(head: string, tokens: number): string {
  const parts = [head];
  let characters = head.length;
  for (let i = head.length; characters < tokens * CHARACTERS_PER_TOKEN; i++) {
    const word = `${WORDS[(i * 7 + ((i * i) % 11)) % WORDS.length]}${i % 17 === 0 ? `_${i}` : ''}`;
    parts.push(word);
    characters += word.length + 1;
  }
  return parts.join(' ');
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
