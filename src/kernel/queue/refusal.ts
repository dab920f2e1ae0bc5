/** What a request is told that is not served: one sentence, and when to come back. */
import type { Arrival, Order } from '../../model/kernel-io.ts';

type Refusal = Extract<Order, { kind: 'reject' }>;

export function tooLong({ id, promptTokens }: Arrival, contextTokens: number): Refusal {
  const sentence = `This model's context is ${contextTokens} tokens, but the prompt has ${promptTokens}; shorten it.`;
  return { kind: 'reject', request: id, code: 'context_length_exceeded', sentence };
}

/** `sentence`: why no engine may serve it. */
export function nobody({ id }: Arrival, sentence: string, retryAfterUs: number): Refusal {
  return { kind: 'reject', request: id, code: 'no_worker', sentence, retryAfterUs };
}

export function busy({ id }: Arrival, why: string, retryAfterUs: number): Refusal {
  const sentence = `${why}; come back in ${Math.max(1, Math.ceil(retryAfterUs / 1e6))} s.`;
  return { kind: 'reject', request: id, code: 'queue_full', sentence, retryAfterUs };
}

export function tooManyFail({ id }: Arrival): Refusal {
  const sentence =
    'An engine failed, and too many requests fail for each to be tried again; come back in 1 s.';
  return { kind: 'reject', request: id, code: 'engine_lost', sentence, retryAfterUs: 1_000_000 };
}

export function spent({ id }: Arrival, attempts: number): Refusal {
  const sentence = `${attempts} engines failed while serving this request; try again.`;
  return { kind: 'reject', request: id, code: 'engine_lost', sentence, retryAfterUs: 1_000_000 };
}
