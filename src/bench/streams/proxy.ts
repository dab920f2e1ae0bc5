/**
 * `stator bench proxy`: what Stator's gateway takes for each event of an engine and for each open stream,
 * beside a bare pipe in the same run. CPU time of the process alone, so that what else the machine does
 * disturbs it least.
 */
import { type BenchReport, ratio, runsOf } from '../figure.ts';
import { type Between, CHAT_PATH, KINDS, type Kind, type StreamRig, wait } from './rig.ts';
import { StreamClients } from './stream-clients.ts';

const RUNS = 5;
const BUSY = { streams: 200, eventsPerS: 20 };
const IDLE = { streams: 2_000, eventsPerS: 1 };
/** More than any run lasts. */
const EVENTS = 1_000_000;
const WARM_MS = 3_000;
const COUNT_MS = 5_000;

/** Of one process in one run. */
interface Measured {
  usPerEvent: number;
  kbPerStream: number;
}

export async function benchProxy(
  rig: StreamRig,
  onProgress: (text: string) => void,
): Promise<BenchReport> {
  const busy = await alternately(rig, BUSY, RUNS, onProgress);
  const idle = await alternately(rig, IDLE, 1, onProgress);
  const msOf = (kind: Kind) => runsOf(busy[kind].map((run) => run.usPerEvent / 1000));
  const [pipe, gateway] = [msOf('pipe'), msOf('gateway')];
  const usOf = ({ allMs }: { allMs: number[] }) => allMs.map((ms) => Math.round(ms * 10_000) / 10);
  return {
    bench: 'proxy',
    settings: { ...BUSY, idleStreams: IDLE.streams, idleEventsPerS: IDLE.eventsPerS },
    figures: {
      cpuRatioToBarePipe: ratio(gateway, pipe),
      kbPerStream: idle.gateway[0].kbPerStream,
    },
    beside: {
      cpuUsPerEvent: usOf(gateway),
      barePipeCpuUsPerEvent: usOf(pipe),
      barePipeKbPerStream: idle.pipe[0].kbPerStream,
      idleCpuRatioToBarePipe:
        Math.round((100 * idle.gateway[0].usPerEvent) / idle.pipe[0].usPerEvent) / 100,
    },
  };
}

/** Pipe and gateway by turns, a new process each time. */
export async function alternately(
  rig: StreamRig,
  load: { streams: number; eventsPerS: number },
  runs: number,
  onProgress: (text: string) => void,
): Promise<Record<Kind, Measured[]>> {
  const measured: Record<Kind, Measured[]> = { pipe: [], gateway: [] };
  const { streams, eventsPerS } = load;
  await rig.withEngine({ eventsPerS, events: EVENTS }, async (start) => {
    for (let run = 0; run < runs; run++) {
      for (const kind of KINDS) {
        onProgress(`${streams} streams through the ${kind}, ${run + 1} of ${runs}`);
        const between = await start(kind);
        measured[kind].push(await measure(between, streams).finally(() => between.close()));
      }
    }
  });
  return measured;
}

async function measure(between: Between, streams: number): Promise<Measured> {
  const clients = new StreamClients(between.port, CHAT_PATH);
  const { counts } = clients;
  try {
    await clients.open(1, bodyOf);
    const empty = await between.usage();
    await clients.open(streams - 1, bodyOf);
    await wait(WARM_MS);
    const [before, eventsBefore] = [await between.usage(), counts.events];
    await wait(COUNT_MS);
    const [after, eventsAfter] = [await between.usage(), counts.events];
    if (counts.failed > 0) throw new Error(`${counts.failed} streams failed: ${counts.reason}`);
    const kb = (after.rssBytes - empty.rssBytes) / streams / 1024;
    return {
      usPerEvent: (after.cpuUs - before.cpuUs) / (eventsAfter - eventsBefore),
      kbPerStream: Math.round(10 * kb) / 10,
    };
  } finally {
    clients.close();
  }
}

export function bodyOf(index: number): string {
  return JSON.stringify({
    model: 'bench',
    stream: true,
    max_tokens: 100_000,
    messages: [{ role: 'user', content: `Stream ${index}.` }],
  });
}
