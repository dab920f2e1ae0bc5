/**
 * What an engine says when it refuses, as one of our errors: what is wrong with the request is the
 * client's to know, what is wrong with the engine, or with the key it was sent, is not. Whoever turns a
 * gateway away, for its key or because it has no such model, does so with the next request too.
 *
 *   {"error": {"message", "code"?, "type"?, "param"?}}   OpenAI, Anthropic, SGLang, llama.cpp's server, vLLM
 *   {"object": "error", "message", "type", "code"}       TensorRT-LLM, older vLLM
 *   {"error": "…"}                                       Ollama
 */
import { GatewayError } from '../model/error.ts';

export interface Refusal {
  status: number;
  /** As it came, or the beginning of it. */
  body: string;
  /** The header, as it came. */
  retryAfter: unknown;
}

export function refusalOf({ status, body, retryAfter }: Refusal): GatewayError {
  const { message, code, type, param } = readUpstreamError(body);
  if (BUSY.has(status)) {
    const retryAfterUs = secondsOf(retryAfter) * 1e6;
    return new GatewayError('queue_full', `The engine is busy: ${message}`, { retryAfterUs });
  }
  if (status >= 500) return new GatewayError('engine_failed', `The engine failed: ${message}`);
  // Whoever refuses a key may repeat it.
  if (status === 401 || status === 402) {
    return new GatewayError(
      'engine_denied',
      `The engine answered ${status}: it does not take the key it is sent; mend key: of this worker.`,
    );
  }
  if (status === 403) return new GatewayError('forbidden', message);
  if (status === 404) {
    return new GatewayError('engine_denied', `The engine answered 404: ${message}`);
  }
  if (isTooLong(message, code, type)) return new GatewayError('context_length_exceeded', message);
  return new GatewayError('invalid_request', message, { param });
}

interface UpstreamError {
  message: string;
  code: unknown;
  type: unknown;
  param: string | undefined;
}

/** Whatever shape it has; where it gives no reason, that is said. */
function readUpstreamError(body: string): UpstreamError {
  try {
    return errorFields(JSON.parse(body));
  } catch {
    return errorFields(undefined);
  }
}

function errorFields(said: unknown): UpstreamError {
  const whole = fieldsOf(said);
  const error = typeof whole.error === 'string' ? { message: whole.error } : whole.error;
  const { message, code, type, param } = fieldsOf(error ?? whole);
  return {
    message: typeof message === 'string' && message !== '' ? message : 'it gave no reason',
    code,
    type,
    param: typeof param === 'string' ? param : undefined,
  };
}

/** What went wrong after a stream began; what is wrong with the request is still the client's to know. */
export function streamedError(said: unknown): GatewayError {
  const { message, code, type } = errorFields(said);
  if (isTooLong(message, code, type)) return new GatewayError('context_length_exceeded', message);
  return new GatewayError('engine_failed', `The engine failed: ${message}`);
}

const BUSY: ReadonlySet<number> = new Set([429, 503, 529]);

/** Few engines have a code for it; each has a sentence. */
function isTooLong(message: string, code: unknown, type: unknown): boolean {
  if (code === 'context_length_exceeded' || type === 'exceed_context_size_error') return true;
  return TOO_LONG.test(message);
}

const TOO_LONG =
  /maximum context length|context length of|longer than the model's context|prompt is too long|exceeds? (?:the )?(?:available )?context|exceeds? (?:the )?max(?:imum)?[ _](?:input|sequence|seq|num_tokens|prompt)/i;

/** A date, or nothing, is as good as soon. */
function secondsOf(retryAfter: unknown): number {
  const text = String(retryAfter);
  return /^\d{1,5}$/.test(text) ? Number(text) : 0;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : {};
}
