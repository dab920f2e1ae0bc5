/** The Responses API with its state, as the configuration wants it kept. */
import { join } from 'node:path';
import type { Access } from '../gateway/access.ts';
import { Conversations } from '../gateway/responses/conversations.ts';
import { noted } from '../gateway/responses/noted.ts';
import { ResponseStore } from '../gateway/responses/response-store.ts';
import { Responses } from '../gateway/responses/responses.ts';
import { ResponsesSocket } from '../gateway/responses/responses-socket.ts';
import { FileShelf, MemoryShelf } from '../gateway/responses/shelf.ts';
import type { Serve } from '../gateway/serve.ts';
import type { Route } from '../http/router.ts';
import { WebSockets } from '../http/web-sockets.ts';
import type { Config } from '../model/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock, Sink } from '../ports.ts';
import { stateHere } from './state-here.ts';

export interface KeptResponses {
  routes: Map<string, Route>;
  sockets: WebSockets;
  /** Sets what they are now. */
  gauges(metrics: Metrics): void;
  /** When no call runs any more. */
  close(): Promise<void>;
}

export function buildResponses(
  { store: { responses: settings }, limits }: Config,
  parts: { access: Access; serve: Serve; clock: Clock; sink: Sink },
): KeptResponses {
  const store = settings.mode === 'off' ? undefined : storeOf(settings, parts);
  const { backgroundMax: jobsMax, backgroundEventBytesMax: eventBytesMax } = settings;
  const responses = new Responses({ ...parts, store, limits: { jobsMax, eventBytesMax } });
  const socket = new ResponsesSocket({
    ...{ ...parts, responses },
    latestBytesMax: limits.socketTurnsBytesMax,
  });
  const conversations = store === undefined ? [] : new Conversations({ ...parts, store }).routes();
  const routes = [...responses.routes(), ...conversations];
  const sockets = new WebSockets(socket.handle, {
    socketsMax: limits.socketsMax,
    messageBytesMax: limits.bodyBytesMax,
    messagesMax: limits.socketMessagesMax,
    waitingBytesMax: limits.bodiesBytesMax,
    pingUs: limits.socketPingUs,
  });
  return {
    routes: new Map(routes.map(([pattern, route]) => [pattern, noted(parts.sink, route)])),
    sockets,
    gauges(metrics) {
      const { chains, bytes } = store?.totals ?? { chains: 0, bytes: 0 };
      metrics.set('stator_websockets', {}, sockets.size);
      metrics.set('stator_stored_conversations', {}, chains);
      metrics.set('stator_stored_conversation_bytes', {}, bytes);
    },
    async close() {
      await responses.close();
      await store?.close();
    },
  };
}

const DAY_MS = 24 * 3600 * 1000;
const SWEEP_US = 3600 * 1_000_000;

function storeOf(
  settings: Config['store']['responses'],
  { clock, sink }: { clock: Clock; sink: Sink },
): ResponseStore {
  const { folder = join(stateHere(), 'responses') } = settings;
  return new ResponseStore({
    shelf: settings.mode === 'files' ? new FileShelf(folder) : new MemoryShelf(),
    clock,
    complain: (sentence) => sink.note({ kind: 'warning', sentence }),
    limits: {
      bytesMax: settings.bytesMax,
      chainsMax: settings.conversationsMax,
      tenantBytesMax: settings.tenantBytesMax,
      tenantChainsMax: settings.tenantConversationsMax,
      chainBytesMax: settings.conversationBytesMax,
      keepMs: settings.keepDays * DAY_MS,
      sweepUs: SWEEP_US,
      recentBytesMax: settings.recentBytesMax,
    },
  });
}
