/** A call that the gateway makes of itself, for a tenant, and the answer it gets. */
import type { Call, Reply } from '../../http/call.ts';

export interface Answer {
  /** 0: it was broken off. */
  status: number;
  requestId: string;
  retryAfterS: number | undefined;
  text: string;
}

/** Walks like any other call. `headers`: besides what a body needs. */
export async function ownCall(
  handler: (call: Call) => Promise<void>,
  given: {
    path: string;
    body: unknown;
    tenant: string;
    requestId: string;
    headers: Record<string, string>;
    signal: AbortSignal;
  },
): Promise<Answer> {
  const bytes = new TextEncoder().encode(JSON.stringify(given.body));
  const reply = new HeldReply();
  await handler({
    method: 'POST',
    path: given.path,
    query: new URLSearchParams(),
    headers: { 'content-type': 'application/json', ...given.headers },
    remote: '127.0.0.1',
    body: async () => bytes,
    stream: async function* () {
      yield bytes;
    },
    signal: given.signal,
    requestId: given.requestId,
    vouched: { tenant: given.tenant, admin: false },
    reply,
  });
  const { status, retryAfterS, text } = reply;
  return { status, retryAfterS, text, requestId: given.requestId };
}

class HeldReply implements Reply {
  headSent = false;
  status = 0;
  text = '';
  retryAfterS: number | undefined;

  head(status: number, headers: Record<string, string>): void {
    this.headSent = true;
    this.status = status;
    const after = Number(headers['retry-after']);
    if (after > 0) this.retryAfterS = after;
  }

  write(data: string | Uint8Array): undefined {
    this.text += typeof data === 'string' ? data : Buffer.from(data).toString('utf8');
  }

  end(text?: string | Uint8Array): void {
    if (text !== undefined) this.write(text);
  }

  destroy(): void {
    this.status = 0;
  }
}
