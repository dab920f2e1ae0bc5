/**
 * The part of `stator bench engine` that goes through sockets: our worker, and llama.cpp's own server
 * beside it where it is built. Figures are ours over theirs, or null where there is no other.
 */
import { Prng } from '../base/prng.ts';
import { type Interference, interference } from './interference.ts';
import { compareServers, type ServerReport, type SessionLoad } from './server-comparison.ts';
import { type ServedModel, ServerProcess } from './server-process.ts';

export interface ServersBench {
  model: ServedModel;
  /** Of our worker. */
  memoryBytes: number;
  vocabularySize: number;
  /** Path of the executable, or one sentence why there is none. */
  llamaServer: { kind: 'found'; path: string } | { kind: 'missing'; reason: string };
  /** Of prompts, ascending; the longest one disturbs running streams. */
  lengths: readonly number[];
  rounds: number;
  sessions: SessionLoad;
  onProgress: (text: string) => void;
}

export interface ServersReport {
  figures: Record<string, number | null>;
  beside: Record<string, unknown>;
}

const STREAMS = 4;
const QUIET_TOKENS = 200;

export async function benchServers(bench: ServersBench): Promise<ServersReport> {
  const { model, llamaServer, onProgress } = bench;
  const ours = await ServerProcess.worker(model, bench.memoryBytes);
  let theirs: ServerProcess | undefined;
  try {
    if (llamaServer.kind === 'found') {
      theirs = await ServerProcess.llamaServer(llamaServer.path, model);
    }
    onProgress('a long prompt beside running streams');
    const disturbed = await disturb(ours, bench);
    const theirsDisturbed = theirs === undefined ? undefined : await disturb(theirs, bench);
    const compared =
      theirs === undefined
        ? undefined
        : await compareServers({ ...bench, servers: { ours, theirs }, slots: model.slots });
    return {
      figures: {
        itlP99RaisedMs: raisedMs(disturbed),
        healthMsP99: disturbed.healthMs.p99,
        ...ratios(compared),
      },
      beside: {
        longPromptBesideStreams: { ours: disturbed, llamaServer: theirsDisturbed },
        llamaServer: llamaServer.kind === 'missing' ? llamaServer.reason : compared,
      },
    };
  } finally {
    ours.close();
    theirs?.close();
  }
}

function disturb({ client }: ServerProcess, bench: ServersBench): Promise<Interference> {
  const prng = new Prng(2);
  return interference({
    client,
    fresh: (count) => Array.from({ length: count }, () => prng.below(bench.vocabularySize)),
    streams: STREAMS,
    promptTokens: bench.lengths[bench.lengths.length - 1],
    quietTokens: QUIET_TOKENS,
  });
}

function raisedMs({ itlMs: { before, during } }: Interference): number {
  return Number((during.p99 - before.p99).toFixed(3));
}

/** Below 1, ours is faster; the worst of the lengths. */
function ratios(
  compared: Record<'ours' | 'theirs', ServerReport> | undefined,
): Record<string, number | null> {
  const of = (ratio: (ours: ServerReport, theirs: ServerReport) => number) =>
    compared === undefined ? null : Number(ratio(compared.ours, compared.theirs).toFixed(4));
  const worst = (kind: 'cold' | 'reused') =>
    of((ours, theirs) => {
      const lengths = Object.keys(ours.ttft);
      const ratioAt = (tokens: string) =>
        ours.ttft[tokens][kind].bestMs / theirs.ttft[tokens][kind].bestMs;
      return Math.max(...lengths.map(ratioAt));
    });
  return {
    ttftColdToLlamaServer: worst('cold'),
    ttft95ToLlamaServer: worst('reused'),
    decode1ToLlamaServer: of((ours, theirs) => theirs.decode[1] / ours.decode[1]),
    decode4ToLlamaServer: of((ours, theirs) => theirs.decode[4] / ours.decode[4]),
    sessionsTtftToLlamaServer: of(
      (ours, theirs) => ours.sessions.ttftMs.mean / theirs.sessions.ttftMs.mean,
    ),
    sessionsWallToLlamaServer: of((ours, theirs) => ours.sessions.wallMs / theirs.sessions.wallMs),
  };
}
