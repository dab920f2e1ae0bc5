import { GatewayError } from '../model/error.ts';
import type { Call } from './call.ts';

/** The call's body as JSON. What is wrong with it is not quoted: it is nobody's but the client's. */
export async function jsonBody(call: Call): Promise<unknown> {
  const bytes = await call.body();
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    throw new GatewayError('invalid_json', 'The body is not valid JSON in UTF-8.');
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });
