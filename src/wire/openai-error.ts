/** Errors as OpenAI's API frames them. */
import { ERRORS, type GatewayError } from '../model/error.ts';

export function openaiError(error: GatewayError): unknown {
  return {
    error: {
      message: error.message,
      type: ERRORS[error.code].openai,
      param: error.param ?? null,
      code: error.code,
    },
  };
}
