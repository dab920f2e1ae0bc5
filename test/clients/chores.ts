/**
 * A tool session of eight turns, as rules for the simulated engine. Each answer bears its number, so what
 * comes next is read off the history: nothing is counted, and a request that is repeated is answered as
 * before. A turn that needs what a tool brought comes only once that stands in the prompt.
 *
 *   1 run    a file is made         5 delegate  a sub-agent makes a file (or: run)
 *   2 read   a word nobody told     6 run       what became of 1, 3 and 4, and a sum, into a file
 *   3 write  a file                 7 read      that file
 *   4 edit   it                     8 text      once the sum is in the prompt
 *
 * Nothing waits for what a command prints: when the sum was to be printed, Qwen Code ran that chore twice
 * in 2 of 12 sessions on a busy machine.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ScriptRule } from '../../src/model/script.ts';
import type { Toolbox, ToolCall } from './agents/coding-agent.ts';

/** Turns of the session, the last text included. */
export const TURNS = 8;
/** Turns of its sub-agent. */
export const ERRAND_TURNS = 2;
/** The session's last text. */
export const END = 'All chores are done.';

const WHOLE_PROMPT = 10_000_000;
const WORD = 'kingfisher';
const SUM = 'sum:42';

type Rule = Partial<ScriptRule>;

/** A client's chores in a folder of its own. */
export class Chores {
  readonly folder: string;
  readonly #id: string;
  readonly #tools: Toolbox;
  readonly #sideCalls: readonly { match: string; text: string }[];

  constructor(given: {
    id: string;
    folder: string;
    tools: Toolbox;
    sideCalls?: readonly { match: string; text: string }[];
  }) {
    this.#id = given.id;
    this.folder = given.folder;
    this.#tools = given.tools;
    this.#sideCalls = given.sideCalls ?? [];
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(this.#path('README.md'), `The word is ${WORD}.\n`);
  }

  /** What the user says. */
  get prompt(): string {
    return `Please do the chores of ${this.#id}, one after the other.`;
  }

  rules(): Rule[] {
    const { run, read, write, edit, delegate } = this.#tools;
    const notes = this.#path('notes.txt');
    const proof = this.#path('proof.txt');
    const errand = `Run the errand of ${this.#id} and tell me how it went.`;
    return [
      ...this.#sideCalls,
      this.#rule(`${this.#said(7)}[^]*${SUM}`, { text: END }),
      this.#step(7, this.#said(6), [read(proof)]),
      this.#step(6, this.#said(5), [
        run(`cat ${notes} ${this.#path('made.txt')} > ${proof} && echo sum:$((20+22)) >> ${proof}`),
      ]),
      this.#step(5, this.#said(4), [
        delegate?.(errand) ?? run(`echo fetched > ${this.#path('errand.txt')}`),
      ]),
      this.#step(4, this.#said(3), [edit(notes, 'tea', 'coffee')]),
      this.#step(3, `${this.#said(2)}[^]*${WORD}`, [write(notes, 'Buy tea.\n')]),
      this.#step(2, this.#said(1), [read(this.#path('README.md'))], 'I should look into the file.'),
      this.#rule(`Errand begun for ${this.#id}\\.`, { text: 'The errand went well.' }),
      this.#rule(`errand of ${this.#id} and`, {
        text: `Errand begun for ${this.#id}.`,
        toolCalls: [run(`echo fetched > ${this.#path('errand.txt')}`)],
      }),
      this.#step(1, `chores of ${this.#id},`, [run(`echo made > ${this.#path('made.txt')}`)]),
    ];
  }

  /** Every tool of the session ran, and in order. */
  assertDone(): void {
    const texts = ['made.txt', 'errand.txt', 'notes.txt', 'proof.txt'].map((name) => {
      try {
        return readFileSync(this.#path(name), 'utf8');
      } catch {
        return undefined; // It was never made.
      }
    });
    assert.deepEqual(texts, [
      'made\n',
      'fetched\n',
      'Buy coffee.\n',
      `Buy coffee.\nmade\n${SUM}\n`,
    ]);
  }

  #step(number: number, match: string, toolCalls: ToolCall[], reasoning?: string): Rule {
    return this.#rule(match, { text: this.#said(number), toolCalls, reasoning });
  }

  #rule(match: string, answer: Rule): Rule {
    return { match, tailCharacters: WHOLE_PROMPT, ...answer };
  }

  #said(number: number): string {
    return `Chore ${number} of ${this.#id} comes now.`;
  }

  #path(name: string): string {
    return join(this.folder, name);
  }
}
