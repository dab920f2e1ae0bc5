/** What goes around an answer: its id, its response headers, and the `nvext` field. */
import type { Receipt } from '../model/receipt.ts';
import type { ThreadState } from '../model/session.ts';
import type { Ask, Opening, WireName } from '../wire/wire.ts';
import type { Account } from './account.ts';

const ID_PREFIX: Record<WireName, string> = {
  'openai-chat': 'chatcmpl-',
  'openai-completions': 'cmpl-',
  'openai-responses': 'resp_',
  'anthropic-messages': 'msg_',
};

export function openingOf(
  ask: Ask,
  wire: WireName,
  receipt: Receipt,
  wallMs: () => number,
): Opening {
  const nowS = () => Math.floor(wallMs() / 1000);
  return {
    id: ID_PREFIX[wire] + receipt.id,
    createdS: nowS(),
    nowS,
    model: ask.model,
    promptTokens: receipt.promptTokens ?? undefined,
  };
}

export function headersOf(receipt: Receipt): Record<string, string> {
  const { request, id, worker, session, thread, notes } = receipt;
  return {
    'x-request-id': request,
    'x-stator-receipt': id,
    ...(worker !== null && { 'x-stator-worker': printable(worker) }),
    ...(session !== null && { 'x-stator-session': printable(session) }),
    ...(thread !== null && { 'x-stator-thread': printable(thread) }),
    ...(notes.length > 0 && { 'x-stator-note': printable(notes.join(' ')).slice(0, NOTE_MAX) }),
  };
}

/** What was asked for, and a prediction of cached tokens where the engine does not tell them. */
export function extrasOf(
  { hints }: Ask,
  account: Account,
  stateAfter: () => ThreadState | undefined,
): Record<string, unknown> | undefined {
  const { receipt } = account;
  const { actual, predicted } = receipt;
  const extras: Record<string, unknown> = {};
  const ms = (us: number | null | undefined) =>
    us === null || us === undefined ? null : us / 1000;
  const { extraFields } = hints;
  if (extraFields.includes('session')) extras.session = stateAfter() ?? null;
  if (extraFields.includes('worker_id')) extras.worker_id = receipt.worker;
  if (extraFields.includes('timing')) {
    const itlUs = account.itlUs();
    extras.timing = { ttft_ms: ms(actual.ttftUs), itl_ms: ms(itlUs), total_ms: ms(actual.e2eUs) };
  }
  if (actual.cachedTokens === null && predicted !== null) {
    extras.cached_tokens_predicted = predicted.cachedTokens;
  }
  return Object.keys(extras).length === 0 ? undefined : extras;
}

/** Longer headers are some clients' trouble. */
const NOTE_MAX = 1000;

/** Ids come from clients: only what a header may hold goes back out. */
function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, '?');
}
