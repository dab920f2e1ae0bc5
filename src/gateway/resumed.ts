/** The rest of an answer whose beginning another worker gave; several answers at once go on side by side. */
import { Pipe } from '../base/pipe.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Job } from '../ports.ts';
import type { Answered, Rest } from './answered.ts';

type Ask = (job: Job, signal: AbortSignal) => AsyncIterable<Part>;

/** A part of one of the answers, or what was thrown in place of one. */
type News = { kind: 'part'; choice: number; part: Part } | { kind: 'thrown'; thrown: unknown };

export async function* resumed(
  answered: Answered,
  ask: Ask,
  signal: AbortSignal,
): AsyncGenerator<Part> {
  const saidTokens = answered.tokens;
  const isOnly = answered.choices === 1;
  const usages: Usage[] = [];
  let finish: Finish = { kind: 'stop' };
  const open: Rest[] = [];
  for (const rest of answered.rest()) {
    if (rest.finish === undefined) open.push(rest);
    else {
      finish = rest.finish;
      if (!isOnly) yield { kind: 'ended', choice: rest.choice, finish };
    }
  }
  for await (const news of open.length === 1
    ? alone(open[0], ask, signal)
    : together(open, ask, signal)) {
    if (news.kind === 'thrown') throw news.thrown;
    const { choice, part } = news;
    if (part.kind === 'error') {
      yield part;
      return;
    }
    if (part.kind !== 'done') {
      yield choice === 0 ? part : { ...part, choice };
      continue;
    }
    usages.push(part.usage);
    finish = part.finish;
    if (!isOnly) yield { kind: 'ended', choice, finish };
  }
  if (usages.length < open.length) return;
  yield { kind: 'done', finish, usage: answered.usage(saidTokens, usages) };
}

async function* alone({ choice, job }: Rest, ask: Ask, signal: AbortSignal): AsyncGenerator<News> {
  for await (const part of ask(job, signal)) yield { kind: 'part', choice, part };
}

async function* together(
  rests: readonly Rest[],
  ask: Ask,
  signal: AbortSignal,
): AsyncGenerator<News> {
  const pipe = new Pipe<News>();
  let running = rests.length;
  const leaving = new AbortController();
  const leave = () => leaving.abort(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  const run = async (rest: Rest) => {
    try {
      for await (const news of alone(rest, ask, leaving.signal)) pipe.push(news);
    } catch (thrown) {
      pipe.push({ kind: 'thrown', thrown });
    }
    if (--running === 0) pipe.end();
  };
  for (const rest of rests) void run(rest);
  if (running === 0) pipe.end();
  try {
    yield* pipe;
  } finally {
    signal.removeEventListener('abort', leave);
    leaving.abort();
  }
}
