/** One HTTP exchange as its handler sees it: no sockets. */
export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Address of the peer. */
  remote: string;
  body(): Promise<Uint8Array>;
  /** The same as it comes, instead, and as long as it likes. */
  stream(): AsyncIterable<Uint8Array>;
  /** Aborts when the client has gone. */
  signal: AbortSignal;
  requestId: string;
  /** Of a call that the gateway makes of itself: whose it is. Nothing that comes over a socket has it. */
  vouched?: { tenant: string; admin: boolean };
  reply: Reply;
}

export interface Reply {
  /** Once, before anything is written. */
  head(status: number, headers: Record<string, string>): void;
  /** Resolves when there is room for more: a slow reader holds its writer, not our memory. */
  write(data: string | Uint8Array): Promise<void> | undefined;
  end(text?: string | Uint8Array): void;
  /** Breaks the connection off, so that nobody takes what was sent for the whole. */
  destroy(): void;
  readonly headSent: boolean;
}

export function replyJson(
  reply: Reply,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify(value);
  const length = String(Buffer.byteLength(body));
  reply.head(status, { 'content-type': 'application/json', 'content-length': length, ...headers });
  reply.end(body);
}
