/** Method and path → who answers. What a route throws becomes an error in the shape of its path. */
import { asGatewayError, GatewayError } from '../model/error.ts';
import { anthropicError } from '../wire/anthropic-frames.ts';
import { openaiError } from '../wire/openai-error.ts';
import { type Call, replyJson } from './call.ts';

export type Handler = (call: Call) => Promise<void>;

export type Route = (call: Call) => void | Promise<void>;

/** Keys are `METHOD /path`; a `*` at the end of a path stands for the rest. HEAD is asked of GET's, too. */
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

/**
 * What can be tried again says when, in whole seconds: some clients fail for good without it. What cannot
 * says so to the official SDKs, which would try any 5xx again.
 */
export function errorHeaders(requestId: string, error: GatewayError): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId };
  if (error.retryable) {
    const seconds = Math.ceil((error.retryAfterUs ?? 0) / 1e6);
    headers['retry-after'] = String(Math.max(1, seconds));
  } else if (error.status >= 500) headers['x-should-retry'] = 'false';
  return headers;
}

function replyError(call: Call, error: GatewayError, more: Record<string, string> = {}): void {
  const shape = call.path.startsWith('/v1/messages') ? anthropicError : openaiError;
  const headers = { ...errorHeaders(call.requestId, error), ...more };
  replyJson(call.reply, error.status, shape(error), headers);
}

function find({ method, path }: Call, routes: Routes): Route {
  const asked = routeAt(routes, method, path);
  if (asked !== undefined) return asked;
  const allow = METHODS.filter((one) => routeAt(routes, one, path) !== undefined).join(', ');
  if (allow === '') {
    throw new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
  }
  const sentence = `${path.slice(0, 200)} answers ${allow} only.`;
  return (call) => replyError(call, new GatewayError('method_not_allowed', sentence), { allow });
}

/** Those that any route here answers. */
const METHODS = ['GET', 'HEAD', 'POST', 'DELETE'];

function routeAt(routes: Routes, method: string, path: string): Route | undefined {
  const exact = routes.get(`${method} ${path}`);
  if (exact !== undefined) return exact;
  for (const [pattern, route] of routes) {
    if (pattern.endsWith('*') && `${method} ${path}`.startsWith(pattern.slice(0, -1))) return route;
  }
  // Sockets send its head alone.
  return method === 'HEAD' ? routeAt(routes, 'GET', path) : undefined;
}
