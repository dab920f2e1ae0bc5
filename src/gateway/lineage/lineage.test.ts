import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SessionId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Message, Tool } from '../../model/request.ts';
import type { Relation } from '../../model/session.ts';
import type { Prompt } from '../../wire/wire.ts';
import { identify } from '../identify.ts';
import { AnswerSketch } from './answer-sketch.ts';
import { type Belongs, Lineage } from './lineage.ts';

const SYSTEM = 'You write code.';

test('a conversation that goes on is one thread, whatever its client drops from what was said', () => {
  const rig = new Rig();
  const first = rig.ask('s:x', 'u:fix it');
  rig.answer(first, 'I look.');
  const second = rig.ask('s:x', 'u:fix it', 'a:I look.', 't:found');
  assert.deepEqual([second.relation, second.thread], ['extends', first.thread]);
  // The reader pressed Esc: what he says next stands in the same message.
  const third = rig.ask('s:x', 'u:fix it', 'a:I look.', 't:found', 'u:[interrupted]', 'u:stop');
  assert.deepEqual([third.relation, third.thread], ['extends', first.thread]);
  const messages = rig.messages(['s:x', 'u:fix it', 'a:I look.', 't:found', 'u:[interrupted]']);
  const merged: Message = {
    role: 'user',
    content: ['[interrupted]', 'stop', 'go'].map((text) => ({ kind: 'text', text })),
  };
  const dressed = messages.map((message) =>
    message.role === 'assistant' ? { ...message, reasoning: 'hm' } : message,
  );
  const fourth = rig.attach([...dressed.slice(0, -1), merged]);
  assert.deepEqual([fourth?.relation, fourth?.thread], ['extends', first.thread]);
});

test('a system prompt in common is no session, and neither is a prompt of nothing else', () => {
  const rig = new Rig();
  assert.equal(rig.attach(rig.messages([`s:${SYSTEM}`])), undefined);
  const one = rig.ask(`s:${SYSTEM}`, 'u:one');
  const other = rig.ask(`s:${SYSTEM}`, 'u:other');
  assert.notEqual(one.thread, other.thread);
  assert.notEqual(one.session, other.session);
});

test('who began alike is told apart by what was answered, in any order', () => {
  const rig = new Rig();
  const one = rig.ask('u:hi');
  const two = rig.ask('u:hi');
  assert.notEqual(one.thread, two.thread);
  assert.notEqual(one.session, two.session);
  rig.answer(one, 'Hello!');
  rig.answer(two, 'Good day.');
  assert.equal(rig.ask('u:hi', 'a:Good day.', 'u:a').thread, two.thread);
  assert.equal(rig.ask('u:hi', 'a:Hello!', 'u:b').thread, one.thread);
});

test('what nobody answered so is no follow-up', () => {
  const rig = new Rig();
  const one = rig.ask('u:hi');
  rig.answer(one, 'Hello!');
  const stranger = rig.ask('u:hi', 'a:Something else.', 'u:b');
  assert.deepEqual([stranger.relation, stranger.parent], ['begins', undefined]);
  assert.notEqual(stranger.session, one.session);
});

test('an edit or another draw forks within its session; the first branch may go on', () => {
  const rig = new Rig();
  const first = rig.ask('u:hi');
  rig.answer(first, 'Hello!');
  const second = rig.ask('u:hi', 'a:Hello!', 'u:two');
  rig.answer(second, 'Two.');
  const edited = rig.ask('u:hi', 'a:Hello!', 'u:another two');
  assert.deepEqual([edited.relation, edited.parent], ['begins', undefined]);
  const third = rig.ask('u:hi', 'a:Hello!', 'u:two', 'a:Two.', 'u:three');
  assert.equal(third.thread, first.thread);
  const again = rig.ask('u:hi', 'a:Hello!', 'u:two');
  assert.deepEqual([again.relation, again.parent], ['forks', first.thread]);
  assert.equal(again.session, first.session);
  rig.answer(again, 'Zwei.');
  const branch = rig.ask('u:hi', 'a:Hello!', 'u:two', 'a:Zwei.', 'u:drei');
  assert.deepEqual([branch.relation, branch.thread], ['extends', again.thread]);
});

test('whoever was not served tries again in the same thread', () => {
  const rig = new Rig();
  const first = rig.ask('u:hi');
  rig.end(first, { served: false });
  const again = rig.ask('u:hi');
  assert.deepEqual([again.relation, again.thread], ['repeats', first.thread]);
  rig.answer(again, 'Hello!');
  // Served: the same words are another conversation.
  assert.notEqual(rig.ask('u:hi').thread, first.thread);
});

test('a summary asked for without tools belongs to the thread, which goes on from where it was', () => {
  const rig = new Rig();
  const tools = [{ name: 'read', description: undefined, parameters: {} }];
  const attach = (said: string[], some: Tool[]) =>
    must(rig.attach(rig.messages(said), { tools: some }));
  const first = attach(['u:hi'], tools);
  rig.answer(first, 'Hello!');
  const said = ['u:hi', 'a:Hello!', 'u:sum it up'];
  const summary = attach(said, []);
  assert.deepEqual([summary.thread, summary.hadTools], [first.thread, true]);
  const next = attach(['u:hi', 'a:Hello!', 'u:no, go on'], tools);
  assert.deepEqual([next.relation, next.thread], ['extends', first.thread]);
});

test('text and token prompts go on from where they ended, wherever that is', () => {
  const rig = new Rig();
  const text = 'All that was said so far. '.repeat(40);
  const asked = (prompt: Prompt) => rig.lineage.attach({ ...RIG_SAID, prompt });
  for (const cut of [256, 511, 512, 700, 1000]) {
    const prompt = `${cut}${text}`.slice(0, cut);
    const first = must(asked({ kind: 'text', text: prompt }));
    assert.equal(first.relation, 'begins', String(cut));
    const next = must(asked({ kind: 'text', text: `${prompt} An answer, and a question.` }));
    assert.deepEqual([next.relation, next.thread], ['extends', first.thread], String(cut));
    const ids = Uint32Array.from({ length: cut }, (_, i) => i * cut);
    const begun = must(asked({ kind: 'tokens', ids }));
    const more = must(asked({ kind: 'tokens', ids: Uint32Array.from([...ids, 7, 8, 9]) }));
    assert.deepEqual([more.relation, more.thread], ['extends', begun.thread], String(cut));
  }
  assert.equal(asked({ kind: 'text', text: 'too short to tell' }), undefined);
});

test('nothing is known across tenants and salts', () => {
  const rig = new Rig();
  const first = must(rig.attach(rig.messages(['u:hi'])));
  rig.answer(first, 'Hello!');
  const said = rig.messages(['u:hi', 'a:Hello!', 'u:more']);
  assert.equal(rig.attach(said, { tenant: 'other' })?.relation, 'begins');
  assert.equal(rig.attach(said, { salt: 'other' })?.relation, 'begins');
  assert.equal(rig.attach(said)?.relation, 'extends');
});

test('whoever makes up conversations, alike or not, forgets only its own', () => {
  const rig = new Rig(60_000);
  const first = rig.ask('u:hi');
  rig.answer(first, 'Hello!');
  for (let i = 0; i < 500; i++) {
    rig.attach(rig.messages([`u:${i}`]), { tenant: 'noisy' });
    rig.attach(rig.messages(['u:the same']), { tenant: 'noisy' });
  }
  rig.lineage.check();
  assert.ok(rig.lineage.bytes <= 60_000);
  assert.equal(rig.ask('u:hi', 'a:Hello!', 'u:more').thread, first.thread);
});

test('threads with names come and go without a trace in those without', () => {
  const rig = new Rig(60_000);
  const first = rig.ask('u:hi');
  for (let i = 0; i < 300; i++) {
    rig.end(first, { served: false });
    const again = rig.ask('u:hi');
    assert.deepEqual([again.relation, again.thread], ['repeats', first.thread]);
    rig.follow(`named ${i}`, 'u:hi');
  }
  rig.lineage.check();
  assert.equal(rig.follow('named 299', 'u:hi', 'a:Hello!', 'u:more'), 'extends');
});

/** The dumb twin: every thread's prompts as lists of words, compared one by one. */
interface TwinThread {
  thread: string;
  prompts: { said: string[]; order: number }[];
  served: boolean;
  answer: string | undefined;
}

test('it agrees with a list of all that was ever said', () => {
  const step = fc.record({
    kind: fc.constantFrom('begin', 'goOn', 'goOn', 'goOn', 'again', 'back', 'fail'),
    which: fc.nat(20),
    word: fc.constantFrom('x', 'y'),
    answer: fc.constantFrom('A.', 'B.'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const rig = new Rig();
      const twin: TwinThread[] = [];
      const said: string[][] = [];
      for (const { kind, which, word, answer } of steps) {
        const base = said[which % Math.max(1, said.length)] ?? [];
        const prompt =
          kind === 'begin' || base.length === 0
            ? ['s:p', `u:${word}`]
            : kind === 'again'
              ? base
              : kind === 'back'
                ? [...base.slice(0, -1), `u:${word}`]
                : [...base, `a:${answer}`, `u:${word}`];
        const expected = expectedOf(twin, prompt);
        const found = rig.ask(...prompt);
        if (expected === undefined) {
          assert.ok(!twin.some(({ thread }) => thread === found.thread), 'a thread of its own');
          twin.push({ thread: found.thread, prompts: [], served: true, answer });
        } else {
          assert.equal(found.thread, expected.thread);
        }
        const mine = must(twin.find(({ thread }) => thread === found.thread));
        if (found.relation !== 'repeats') mine.prompts.push({ said: prompt, order: said.length });
        mine.served = kind !== 'fail';
        mine.answer = mine.served ? answer : undefined;
        rig.end(found, { served: mine.served, text: mine.answer });
        said.push(prompt);
        rig.lineage.check();
      }
    }),
    { numRuns: 150 },
  );
});

function expectedOf(twin: readonly TwinThread[], prompt: string[]): TwinThread | undefined {
  let best: { thread: TwinThread; rank: number[] } | undefined;
  for (const thread of twin) {
    const tip = thread.prompts[thread.prompts.length - 1];
    if (!tip.said.every((word, i) => prompt[i] === word)) continue;
    let likeness = 0;
    if (tip.said.length === prompt.length) {
      if (thread.served) continue;
    } else {
      const next = prompt[tip.said.length];
      if (next.startsWith('a:') && thread.answer !== undefined) {
        if (next !== `a:${thread.answer}`) continue;
        likeness = 1;
      }
    }
    // The longest, then the likeliest, then whoever got there last.
    const rank = [tip.said.length, likeness, tip.order];
    if (best === undefined || compare(rank, best.rank) > 0) best = { thread, rank };
  }
  return best?.thread;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

const A_TURN = { kind: 'turn' as const, by: 'a test' };
const RIG_SAID = { tenant: 'default' as TenantId, salt: '', model: 'm' };

class Rig {
  readonly lineage: Lineage;

  constructor(bytesMax = 10_000_000) {
    let names = 0;
    this.lineage = new Lineage({ bytesMax, name: () => `n${names++}` });
  }

  /** `s:` system, `u:` user, `a:` assistant, `t:` tool. */
  messages(said: readonly string[]): Message[] {
    return said.map((one): Message => {
      const content = [{ kind: 'text' as const, text: one.slice(2) }];
      if (one.startsWith('s:')) return { role: 'system', content };
      if (one.startsWith('u:')) return { role: 'user', content };
      if (one.startsWith('t:')) {
        return { role: 'tool', content, toolCallId: 'c', isError: false };
      }
      return { role: 'assistant', content, reasoning: undefined, toolCalls: [] };
    });
  }

  attach(
    messages: Message[],
    given: { tenant?: string; salt?: string; tools?: Tool[] } = {},
  ): Belongs | undefined {
    const { tenant = 'default', salt = '', tools = [] } = given;
    const chat = {
      ...{ model: 'm', messages, tools, thinking: undefined },
      toolChoice: { kind: 'auto' as const },
    };
    const prompt = { kind: 'chat' as const, chat };
    return this.lineage.attach({ ...RIG_SAID, tenant: tenant as TenantId, salt, prompt });
  }

  ask(...said: string[]): Belongs {
    return must(this.attach(this.messages(said)));
  }

  follow(name: string, ...said: string[]): Relation {
    const chat = {
      ...{ model: 'm', messages: this.messages(said), tools: [], thinking: undefined },
      toolChoice: { kind: 'auto' as const },
    };
    const named = { thread: name as ThreadId, session: name as SessionId, purpose: A_TURN };
    return this.lineage.follow({ ...RIG_SAID, prompt: { kind: 'chat', chat } }, named);
  }

  answer(to: Belongs, text: string): void {
    this.end(to, { served: true, text });
  }

  end(to: Belongs, { served, text }: { served: boolean; text?: string | undefined }): void {
    let answer: AnswerSketch | undefined;
    if (text !== undefined) {
      answer = new AnswerSketch();
      for (const piece of text) answer.add({ kind: 'text', text: piece, tokens: 1 });
    }
    const who = { ...identify(RIG_SAID.tenant, {}, []), thread: to.thread };
    this.lineage.ended(who, { served, answer });
  }
}

function must<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}
