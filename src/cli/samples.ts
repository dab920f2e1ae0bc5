/** The recorded samples on which indexes and decisions are measured. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readTrace } from '../traces/read-trace.ts';
import type { Trace } from '../traces/trace.ts';

/** As they lie in the folder of samples. */
const SAMPLES = {
  'Mooncake conversation': 'mooncake-conversation-10min/conversation_trace_first600s.jsonl.gz',
  'Claude Code': 'claude-code-weka-60/traces.compact.jsonl.gz',
};

/** Those that are here; what is left out is said. */
export async function samples(
  onProgress: (text: string) => void,
): Promise<{ name: string; trace: Trace }[]> {
  const traces: { name: string; trace: Trace }[] = [];
  for (const [name, file] of Object.entries(SAMPLES)) {
    const path = `${samplesFolder()}/${file}`;
    if (existsSync(path)) traces.push({ name, trace: await readTrace(path) });
    else onProgress(`${name} is left out: it is not here`);
  }
  return traces;
}

/** The whole samples where STATOR_SHARED points to them, else the part that comes with the source. */
function samplesFolder(): string {
  const { STATOR_SHARED } = process.env;
  const whole = STATOR_SHARED === undefined ? undefined : `${STATOR_SHARED}/traces`;
  if (whole !== undefined && existsSync(whole)) return whole;
  return fileURLToPath(new URL('../../test/fixtures/traces', import.meta.url));
}
