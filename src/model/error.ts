/**
 * The world's kind of wrong: one table from code to HTTP status, whether trying again can help, and
 * the names OpenAI's and Anthropic's clients know it by. The sentence travels with the error: it names
 * the cause and the mend, and never holds text, keys or prompts of a user.
 */
export const ERRORS = {
  invalid_json: { status: 400, retryable: false, openai: 'invalid_request_error' },
  invalid_request: { status: 400, retryable: false, openai: 'invalid_request_error' },
  context_length_exceeded: { status: 400, retryable: false, openai: 'invalid_request_error' },
  runaway_tool_calls: { status: 400, retryable: false, openai: 'invalid_request_error' },
  token_budget_exceeded: { status: 400, retryable: false, openai: 'invalid_request_error' },
  unauthorized: { status: 401, retryable: false, openai: 'authentication_error' },
  forbidden: { status: 403, retryable: false, openai: 'permission_error' },
  not_found: { status: 404, retryable: false, openai: 'not_found_error' },
  model_not_found: { status: 404, retryable: false, openai: 'not_found_error' },
  previous_response_not_found: { status: 404, retryable: false, openai: 'invalid_request_error' },
  method_not_allowed: { status: 405, retryable: false, openai: 'invalid_request_error' },
  request_timeout: { status: 408, retryable: true, openai: 'invalid_request_error' },
  body_too_large: { status: 413, retryable: false, openai: 'invalid_request_error' },
  no_sockets: { status: 426, retryable: false, openai: 'invalid_request_error' },
  client_closed: { status: 499, retryable: false, openai: 'invalid_request_error' },
  internal: { status: 500, retryable: false, openai: 'api_error' },
  engine_failed: { status: 502, retryable: true, openai: 'api_error' },
  engine_denied: { status: 502, retryable: false, openai: 'api_error' },
  engine_lost: { status: 502, retryable: true, openai: 'api_error' },
  no_worker: { status: 503, retryable: true, openai: 'overloaded_error' },
  queue_full: { status: 503, retryable: true, openai: 'overloaded_error' },
  shutting_down: { status: 503, retryable: true, openai: 'overloaded_error' },
  not_stored: { status: 507, retryable: false, openai: 'api_error' },
  engine_timeout: { status: 504, retryable: true, openai: 'api_error' },
} as const satisfies Record<string, { status: number; retryable: boolean; openai: string }>;

export type ErrorCode = keyof typeof ERRORS;

export class GatewayError extends Error {
  override name = 'GatewayError';
  readonly code: ErrorCode;
  /** Which field of the request is wrong, where one is. */
  readonly param: string | undefined;
  readonly retryAfterUs: number | undefined;
  /** Nothing of the request came to the engine: there was nobody. */
  readonly isUnreached: boolean;

  constructor(
    code: ErrorCode,
    sentence: string,
    more: { param?: string; retryAfterUs?: number; cause?: unknown; isUnreached?: boolean } = {},
  ) {
    super(sentence, { cause: more.cause });
    this.code = code;
    this.param = more.param;
    this.retryAfterUs = more.retryAfterUs;
    this.isUnreached = more.isUnreached === true;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** Anything thrown, as an error a client may see. What we did not foresee stays nameless outside. */
export function asGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  if (thrown instanceof RangeError && /call stack/.test(thrown.message)) {
    return new GatewayError('invalid_request', 'The request is nested too deeply.');
  }
  return new GatewayError('internal', 'Stator met an error of its own; its log names it.', {
    cause: thrown,
  });
}

/** The JSON Schema of an error body on the OpenAI wires (Anthropic's differs only in its frame). */
export const ERROR_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Error',
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'code', 'param'],
      properties: {
        message: { type: 'string', description: 'One sentence: the cause and the mend.' },
        type: { enum: [...new Set(Object.values(ERRORS).map((e) => e.openai))] },
        code: { enum: Object.keys(ERRORS) },
        param: { type: ['string', 'null'] },
      },
    },
  },
} as const;
