/** One WebSocket as its handler sees it: texts in, texts out. */
export interface MessageSocket {
  /** As they come; ends when the socket does, and once the server stops and no message waits. */
  messages(): AsyncIterable<string>;
  /** Resolves when there is room for more: a slow reader holds its writer, not our memory. */
  send(text: string): Promise<void> | undefined;
  /** Codes are those of RFC 6455, section 7.4. */
  close(code: number, reason: string): void;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
}
