/** Only whoever started a worker may change its cache: it was told a secret then. */
import { timingSafeEqual } from 'node:crypto';
import type { Call } from '../http/call.ts';
import { GatewayError } from '../model/error.ts';
import { KV_SECRET_HEADER } from '../model/worker.ts';

export function checkSecret(call: Call, secret: string): void {
  const sent = Buffer.from(call.headers[KV_SECRET_HEADER] ?? '');
  const wanted = Buffer.from(secret);
  if (sent.length === wanted.length && timingSafeEqual(sent, wanted)) return;
  throw new GatewayError('forbidden', 'This route needs the secret this worker was started with.');
}
