/** Failures inside an answer, in the words that clients of the Responses API act on. */
import { ERRORS, type GatewayError } from '../model/error.ts';

/**
 * Codex tries again after `server_error`, and after `rate_limit_exceeded` when the sentence says how
 * long to wait; codes that speak of an overload end its turn, so none does (measured).
 */
export function failureOf(error: GatewayError): { code: string; message: string } {
  const { code, message, retryAfterUs } = error;
  if (code === 'context_length_exceeded') return { code, message };
  if (error.status < 500 && !error.retryable) return { code: 'invalid_prompt', message };
  if (retryAfterUs === undefined) return { code: 'server_error', message };
  const seconds = Math.max(0.1, retryAfterUs / 1_000_000).toFixed(1);
  return { code: 'rate_limit_exceeded', message: `${message} Please try again in ${seconds}s.` };
}

/**
 * The `error` event: nested as Open Responses has it and the official SDKs throw it, and flat as
 * OpenAI's reference has it.
 */
export function errorFields(error: GatewayError): Record<string, unknown> {
  const failure = { ...failureOf(error), param: error.param ?? null };
  return { ...failure, error: { type: ERRORS[error.code].openai, ...failure } };
}
