/**
 * Recorded conversations of many sessions at once, with every id taken away: how many follow-ups find
 * their thread, and that none finds another's. A follow-up is a request whose thread asked before, but for
 * the first after a compaction, which begins anew.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import {
  isWhole,
  type Recorded,
  type RecordedAbout,
  recorded,
  recordedAbouts,
} from '../../../test/recorded.ts';
import { must } from '../../base/assert.ts';
import { Prng } from '../../base/prng.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Identity } from '../../model/session.ts';
import { anthropicMessages } from '../../wire/anthropic-messages.ts';
import { openaiChat } from '../../wire/openai-chat.ts';
import { openaiResponses } from '../../wire/responses.ts';
import type { Wire } from '../../wire/wire.ts';
import { identify } from '../identify.ts';
import { Identities } from '../identities.ts';
import { AnswerSketch } from './answer-sketch.ts';
import { Lineage } from './lineage.ts';

const TENANT = 'default' as TenantId;
const CALLER = { tenant: TENANT, admin: false };
const WIRES: Record<string, Wire> = {
  '/v1/messages': anthropicMessages,
  '/v1/chat/completions': openaiChat,
  '/v1/responses': openaiResponses,
};

for (const trace of ['tau-bench-airline-10tasks', 'lmcache-mini-swe-agent-6']) {
  test(`${trace}: every follow-up finds its thread, in any order of sessions`, () => {
    const sessions = conversationsOf(trace);
    for (const seed of [1, 2, 3]) {
      const counts = new Counts();
      play(sessions, new Prng(seed), counts);
      counts.tell(`${trace}, order ${seed}`);
    }
  });
}

test('recorded clients: follow-ups find their thread without any id', () => {
  const counts = new Counts();
  const named = new Identities({
    lineageBytesMax: 50_000_000,
    rng: new Prng(1),
    kinOf: () => undefined,
  });
  const bare = new Identities({
    lineageBytesMax: 50_000_000,
    rng: new Prng(2),
    kinOf: () => undefined,
  });
  const abouts = recordedAbouts();
  const notAnswered = { served: false, answer: undefined };
  for (const request of recorded(...Object.keys(WIRES)).filter((one) => !isDelta(one))) {
    const ask = WIRES[request.path].parse(request.body);
    const about = abouts.get(request.name);
    const truth = truthOf(request, { about, who: named.of(CALLER, request.headers, ask) });
    const found = bare.of(CALLER, {}, { ...ask, names: [] });
    bare.ended(found, { ...notAnswered, served: about?.wasServed ?? true });
    counts.add(request.name, truth, must(found.thread, 'each says enough to be told from others'));
  }
  counts.tell(`recorded clients, ${isWhole() ? 'all' : 'those in test/fixtures'}`);
});

/**
 * Each session's turns in order, sessions mixed; answers are what the recording has. Two sessions that were
 * equal word by word until now may be taken for each other: nobody can tell them apart.
 */
function play(sessions: readonly Conversation[], rng: Prng, counts: Counts): void {
  const lineage = new Lineage({ bytesMax: 50_000_000, name: () => `n${rng.uint32()}` });
  /** Thread → all that was said in it, the last answer included. */
  const histories = new Map<string, string>();
  const waiting = sessions.map((session) => ({ session, turn: 0 }));
  while (waiting.length > 0) {
    const at = rng.uint32() % waiting.length;
    const one = waiting[at];
    const { name, turns, messages } = one.session;
    const prompt = turns[one.turn++];
    if (one.turn === turns.length) waiting.splice(at, 1);
    const body = { model: 'm', messages: messages.slice(0, prompt) };
    const said = { tenant: TENANT, salt: '', model: 'm', prompt: openaiChat.parse(body).prompt };
    const found = must(lineage.attach(said), 'it says enough');
    const history = histories.get(found.thread);
    histories.set(found.thread, historyOf(messages, prompt + 1));
    if (history === undefined) counts.new(name, { isFollowUp: one.turn > 1 });
    else if (historyOf(messages, prompt).startsWith(history)) counts.right++;
    else counts.wrong(name);
    const who = { ...identify(TENANT, {}, []), thread: found.thread };
    lineage.ended(who, { served: true, answer: answerOf(messages[prompt]) });
  }
}

function historyOf(messages: readonly Spoken[], count: number): string {
  return messages
    .slice(0, count)
    .map((message) => `${JSON.stringify(message)}\n`)
    .join('');
}

interface Spoken {
  role: string;
  content?: string | null;
  tool_calls?: { id: string; function: { name: string } }[];
}

interface Conversation {
  name: string;
  messages: Spoken[];
  /** How many messages each prompt has. */
  turns: number[];
}

function conversationsOf(trace: string): Conversation[] {
  const shared = `${process.env.STATOR_SHARED ?? '/nowhere'}/traces`;
  const folder = existsSync(shared) ? shared : 'test/fixtures/traces';
  const packed = readFileSync(`${folder}/${trace}/messages.jsonl.gz`);
  const lines = gunzipSync(packed).toString().split('\n');
  return lines.filter(Boolean).map((line, i) => {
    const { messages } = JSON.parse(line) as { messages: Spoken[] };
    const turns = messages.flatMap(({ role }, at) => (role === 'assistant' ? [at] : []));
    return { name: `${trace} ${i}`, messages, turns };
  });
}

function answerOf({ content, tool_calls: calls }: Spoken): AnswerSketch {
  const answer = new AnswerSketch();
  if (content) answer.add({ kind: 'text', text: content, tokens: 1 });
  for (const [index, { id, function: called }] of (calls ?? []).entries()) {
    answer.add({ kind: 'toolCall', index, id, name: called.name });
  }
  return answer;
}

interface Truth {
  thread: string;
  /** It has all that its thread said before, unless this is its first request. */
  isFollowUp: boolean;
}

/** By the client's own ids; of those that send none, by who was started and with what task. */
function truthOf(
  { client, body }: Recorded,
  { about, who }: { about: RecordedAbout | undefined; who: Identity },
): Truth {
  if (who.knownBy !== 'lineage') {
    const isFollowUp = who.purpose.kind === 'turn' && who.relation !== 'diverges';
    return { thread: `${client} ${who.thread}`, isFollowUp };
  }
  const role = about?.role ?? 'main';
  const messages = (body.messages ?? body.input) as { role: string; content: unknown }[];
  const task = role === 'main' ? '' : JSON.stringify(messages.find((one) => one.role === 'user'));
  return { thread: `${client} ${about?.session} ${role} ${task}`, isFollowUp: true };
}

/** Whether it tells only what is new, and the rest lies in a store that this test has not. */
function isDelta({ body }: Recorded): boolean {
  const items = Array.isArray(body.input) ? (body.input as { type?: string }[]) : [];
  const refers = items.some(({ type }) => type === 'item_reference');
  return refers || typeof body.previous_response_id === 'string';
}

class Counts {
  right = 0;
  readonly #missed: string[] = [];
  readonly #wrong: string[] = [];
  /** Found thread → whose it is; and the other way round, the last one found. */
  readonly #owners = new Map<string, string>();
  readonly #last = new Map<string, string>();

  add(name: string, truth: Truth, found: string): void {
    const owner = this.#owners.get(found);
    const last = this.#last.get(truth.thread);
    this.#owners.set(found, truth.thread);
    this.#last.set(truth.thread, found);
    if (owner !== undefined && owner !== truth.thread) this.wrong(name);
    else if (last === found) this.right++;
    else this.new(name, { isFollowUp: last !== undefined && truth.isFollowUp });
  }

  new(name: string, { isFollowUp }: { isFollowUp: boolean }): void {
    if (isFollowUp) this.#missed.push(name);
  }

  wrong(name: string): void {
    this.#wrong.push(name);
  }

  /** Prints, and fails where it is not as claimed. */
  tell(what: string): void {
    const missed = this.#missed.length === 0 ? '' : `: ${this.#missed.join(', ')}`;
    const [most, wrong] = [this.right + this.#missed.length, this.#wrong.length];
    process.stderr.write(
      `lineage, ${what}: ${this.right} of ${most} follow-ups in their thread, ${wrong} in another's${missed}\n`,
    );
    assert.deepEqual(this.#wrong, []);
    assert.ok(this.right >= 0.99 * most);
  }
}
