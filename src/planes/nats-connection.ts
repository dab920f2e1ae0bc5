/**
 * KV events over NATS: `nats://host:port/subject`. A message on the subject is a numbered batch
 * (wire/kv-event-frame.ts); a request on `<subject>.replay` with a number is answered by all batches from
 * there on, and by an end. The client library is the user's to install (@nats-io/transport-node).
 */

/** What we use of a connection of the library. */
export interface NatsConnection {
  subscribe(subject: string): NatsSubscription;
  publish(subject: string, data: Uint8Array, options?: { reply: string }): void;
  flush(): Promise<void>;
  status(): AsyncIterable<{ type: string }>;
  close(): Promise<void>;
}

export interface NatsSubscription extends AsyncIterable<NatsMessage> {
  unsubscribe(): void;
}

export interface NatsMessage {
  data: Uint8Array;
  reply?: string;
}

export interface NatsOptions {
  servers: string;
  user?: string;
  pass?: string;
  maxReconnectAttempts: number;
  waitOnFirstConnect: boolean;
}

export type NatsConnect = (options: NatsOptions) => Promise<NatsConnection>;

const NATS_LIBRARY = '@nats-io/transport-node';

/** Throws one sentence where the library is not installed. */
export async function loadNats(): Promise<NatsConnect> {
  try {
    // Named by a variable, since whoever needs no NATS has no such package.
    const library = (await import(NATS_LIBRARY)) as { connect: NatsConnect };
    return library.connect;
  } catch (cause) {
    const sentence = `${NATS_LIBRARY} is not installed; npm install ${NATS_LIBRARY} mends it`;
    throw new Error(sentence, { cause });
  }
}

/** Throws where the address names no subject. Tries to connect for ever. */
export function natsAddress(endpoint: string): { options: NatsOptions; subject: string } {
  const { host, pathname, username, password } = new URL(endpoint);
  const subject = decodeURIComponent(pathname.slice(1));
  if (subject === '' || /[\s*>]/.test(subject)) {
    throw new RangeError(`${endpoint} names no subject, as nats://host:port/subject does`);
  }
  const login =
    username === ''
      ? {}
      : { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
  const options = { servers: host, ...login, maxReconnectAttempts: -1, waitOnFirstConnect: true };
  return { options, subject };
}

export function replaySubject(subject: string): string {
  return `${subject}.replay`;
}
