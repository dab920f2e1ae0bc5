/** Method and path → who answers. What a route throws becomes an error in the shape of its path. */
import { asGatewayError, GatewayError } from '../model/error.ts';
import { anthropicError } from '../wire/anthropic-frames.ts';
import { openaiError } from '../wire/openai-error.ts';
import { type Call, replyJson } from './call.ts';

export type Handler = (call: Call) => Promise<void>;

export type Route = (call: Call) => void | Promise<void>;

/** Keys are `METHOD /path`; a `*` at the end of a path stands for the rest. */
export type Routes = ReadonlyMap<string, Route>;

export function router(routes: Routes): Handler {
  return async (call) => {
    try {
      await find(call, routes)(call);
    } catch (thrown) {
      if (call.reply.headSent) return call.reply.end();
      replyError(call, asGatewayError(thrown));
    }
  };
}

/** What can be tried again says when, in whole seconds: some clients fail for good without it. */
export function errorHeaders(requestId: string, error: GatewayError): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId };
  if (error.retryable) {
    const seconds = Math.ceil((error.retryAfterUs ?? 0) / 1e6);
    headers['retry-after'] = String(Math.max(1, seconds));
  }
  return headers;
}

function replyError(call: Call, error: GatewayError): void {
  const shape = call.path.startsWith('/v1/messages') ? anthropicError : openaiError;
  replyJson(call.reply, error.status, shape(error), errorHeaders(call.requestId, error));
}

function find({ method, path }: Call, routes: Routes): Route {
  const exact = routes.get(`${method} ${path}`);
  if (exact !== undefined) return exact;
  for (const [pattern, route] of routes) {
    if (pattern.endsWith('*') && `${method} ${path}`.startsWith(pattern.slice(0, -1))) return route;
  }
  const methods = [...routes.keys()]
    .filter((pattern) => pattern.slice(pattern.indexOf(' ') + 1) === path)
    .map((pattern) => pattern.slice(0, pattern.indexOf(' ')));
  if (methods.length > 0) {
    throw new GatewayError('method_not_allowed', `${path} answers ${methods.join(', ')} only.`);
  }
  throw new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
}
