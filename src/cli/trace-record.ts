/** `stator trace record`: what comes in to a running gateway, as a trace. */
import { setTimeout as wait } from 'node:timers/promises';
import { thousands } from '../base/text.ts';
import type { RecordingFile } from '../observe/recording-file.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';
import { recordingFile } from './record.ts';

export interface RecordFlags {
  url: string;
  key?: string;
  out: string;
  text?: boolean;
  /** Seconds; undefined: until it is interrupted. */
  for?: number;
  /** Of the file. */
  maxSize: number;
}

const RETRY_MS = 1_000;
/** The gateway sends an empty line more often than that. */
const SILENCE_MS_MAX = 60_000;

/** A gateway that restarts is waited for; the file goes on where it was. */
export async function recordTrace(flags: RecordFlags): Promise<void> {
  const ending = new AbortController();
  let sentence = '';
  const end = (why = '') => {
    sentence ||= why;
    ending.abort();
  };
  // A file is begun only once somebody answers.
  let stream = await opened(flags, undefined, ending.signal);
  const file = recordingFile(flags.out, { bytesMax: flags.maxSize, complain: end });
  const intake = new Intake(file);
  const timer = flags.for === undefined ? undefined : setTimeout(() => end(), flags.for * 1000);
  process.once('SIGINT', () => end()).once('SIGTERM', () => end());
  const line = new ProgressLine();
  // One that goes on is asked for anew: its times count from its own begin.
  if (intake.beganMs !== undefined) {
    await stream?.body?.cancel();
    stream = await again(flags, intake, ending.signal);
  }
  while (stream !== undefined) {
    await take(stream, ending.signal, (row) => {
      intake.row(row);
      line.show(intake.said);
    });
    stream = await again(flags, intake, ending.signal);
  }
  clearTimeout(timer);
  line.end();
  await file.close();
  const said = `${intake.said} in ${flags.out}`;
  if (sentence !== '') throw new Complaint(`${sentence} ${said}.`);
  process.stderr.write(`${said}\n`);
}

/** Rows into the file, header once, with a count of what they say. */
class Intake {
  beganMs: number | undefined;
  readonly #file: RecordingFile;
  readonly #sessions = new Set<string>();
  #turns = 0;

  constructor(file: RecordingFile) {
    this.#file = file;
    this.beganMs = file.beganMs;
  }

  row(text: string): void {
    if (text === '') return;
    const row = JSON.parse(text) as { began?: string; session?: string };
    if (row.began !== undefined) this.beganMs = Date.parse(row.began);
    if (!this.#file.write(text) || row.session === undefined) return;
    this.#turns++;
    this.#sessions.add(row.session);
  }

  get said(): string {
    return `${thousands(this.#turns)} turns of ${thousands(this.#sessions.size)} sessions`;
  }
}

async function again(
  flags: RecordFlags,
  { beganMs }: Intake,
  signal: AbortSignal,
): Promise<Response | undefined> {
  while (!signal.aborted) {
    try {
      return await opened(flags, beganMs, signal);
    } catch {
      await wait(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
  return undefined;
}

async function opened(
  { url, key, text }: RecordFlags,
  beganMs: number | undefined,
  signal: AbortSignal,
): Promise<Response | undefined> {
  const address = new URL('/stator/v1/recording', url);
  if (text) address.searchParams.set('text', '1');
  if (beganMs !== undefined) address.searchParams.set('began', String(beganMs));
  const headers: Record<string, string> =
    key === undefined ? {} : { authorization: `Bearer ${key}` };
  let response: Response;
  try {
    response = await fetch(address, { headers, signal });
  } catch {
    if (signal.aborted) return undefined;
    throw new Complaint(`Nothing answers at ${url}; start it with npx stator up, or pass --url.`);
  }
  if (response.ok) return response;
  throw new Complaint(`${url} answered ${response.status}; pass an admin key with --key.`);
}

/** Resolves when the stream ended, broke off or fell silent, or the recording is over. */
async function take(
  { body }: Response,
  signal: AbortSignal,
  on: (row: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  const quiet = new AbortController();
  const reader = body?.getReader();
  const stop = () => void reader?.cancel().catch(() => {});
  for (const one of [signal, quiet.signal]) one.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(() => quiet.abort(), SILENCE_MS_MAX);
  let rest = '';
  try {
    for (;;) {
      const chunk = await reader?.read();
      if (chunk === undefined || chunk.done) break;
      timer.refresh();
      const rows = (rest + decoder.decode(chunk.value, { stream: true })).split('\n');
      rest = rows.pop() ?? '';
      for (const row of rows) on(row);
    }
  } catch {
    // It broke off: what came of the last row is no row.
  } finally {
    clearTimeout(timer);
  }
}
