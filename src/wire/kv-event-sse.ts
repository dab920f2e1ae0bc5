/** A numbered batch as a server-sent event: its data is the number, a space, and the batch in base64. */
import type { NumberedBatch } from './kv-event-log.ts';
import { sse } from './sse.ts';

export function sseBatch({ number, payload }: NumberedBatch): string {
  return `id: ${number}\n${sse(`${number} ${Buffer.from(payload).toString('base64')}`)}`;
}

/** Undefined where the data are none. */
export function readSseBatch(data: string): NumberedBatch | undefined {
  const space = data.indexOf(' ');
  const number = Number(data.slice(0, Math.max(0, space)));
  if (space < 1 || !Number.isSafeInteger(number) || number < 0) return undefined;
  return { number, payload: Buffer.from(data.slice(space + 1), 'base64') };
}
