/** Errors of our own are told of where they arise, before a client hears of them without a name. */
import type { Route } from '../../http/router.ts';
import { asGatewayError } from '../../model/error.ts';
import type { Sink } from '../../ports.ts';
import { whereFrom } from '../serve.ts';

export function noted(sink: Sink, route: Route): Route {
  return async (call) => {
    try {
      await route(call);
    } catch (thrown) {
      noteInternal(sink, thrown);
      throw thrown;
    }
  };
}

export function noteInternal(sink: Sink, thrown: unknown): void {
  if (asGatewayError(thrown).code !== 'internal') return;
  sink.note({ kind: 'warning', sentence: `internal error: ${whereFrom(thrown)}` });
}
