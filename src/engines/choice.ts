/** Answers of a local engine on their way out: ids become text, stop strings are looked for. */
import { must } from '../base/assert.ts';
import type { GatewayError } from '../model/error.ts';
import type { Finish, Likely, Part, TokenLogprob } from '../model/part.ts';
import type { Sample, SampleLogprobs } from '../model/step.ts';
import type { Decoder, Embedding, Tokens } from '../ports.ts';
import { StopStrings } from './stop-strings.ts';

/** Whoever waits for what one sequence gives. */
export interface Receiver {
  readonly promptTokens: number;
  /** Known once the sequence runs. */
  cachedTokens: number | undefined;
  outputTokens: number;
  /** Returns the stop string that ends the answer, if one was found. */
  take(token: number, sample: Sample): string | undefined;
  end(finish: Finish, outputTokens: number): void;
  fail(error: GatewayError): void;
}

/** The answers to one request; the last to end says `done` for all. */
export class Choices {
  readonly #count: number;
  readonly #on: (part: Part) => void;
  readonly #all: Choice[] = [];
  #open: number;
  #failed = false;

  constructor(count: number, on: (part: Part) => void) {
    this.#count = count;
    this.#open = count;
    this.#on = on;
  }

  add(given: {
    promptTokens: number;
    /** Ids that the answer begins with, and UTF-16 units of their text; both told before. */
    said: Uint32Array;
    saidCharacters: number;
    stops: readonly string[];
    tokens: Tokens;
    /** Whether output is forced: then no token was drawn. */
    isForced: boolean;
  }): Choice {
    const choice = this.#all.length;
    const receiver = new Choice(given, {
      part: (part) => this.#on(choice === 0 ? part : { ...part, choice }),
      ended: (finish) => this.#ended(choice, finish),
      failed: (error) => this.#fail(error),
    });
    this.#all.push(receiver);
    return receiver;
  }

  #ended(choice: number, finish: Finish): void {
    if (this.#failed) return;
    if (this.#count > 1) this.#on({ kind: 'ended', choice, finish });
    if (--this.#open > 0) return;
    const [{ promptTokens, cachedTokens }] = this.#all;
    const outputTokens = this.#all.reduce((sum, one) => sum + one.outputTokens, 0);
    this.#on({ kind: 'done', finish, usage: { promptTokens, cachedTokens, outputTokens } });
  }

  #fail(error: GatewayError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#on({ kind: 'error', error });
  }
}

type TextPart = Extract<Part, { kind: 'text' }>;

interface Listener {
  part(part: TextPart): void;
  ended(finish: Finish): void;
  failed(error: GatewayError): void;
}

class Choice implements Receiver {
  readonly promptTokens: number;
  cachedTokens: number | undefined;
  outputTokens = 0;
  readonly #decoder: Decoder;
  readonly #tokens: Tokens;
  readonly #isForced: boolean;
  readonly #stops: StopStrings;
  readonly #on: Listener;
  /** UTF-16 units of what comes next that its client has already. */
  #told = 0;
  /** Tokens whose text was held back so far. */
  #ids: number[] = [];
  #digests: string[] = [];
  #logprobs: TokenLogprob[] = [];

  constructor(
    given: {
      promptTokens: number;
      said: Uint32Array;
      saidCharacters: number;
      stops: readonly string[];
      tokens: Tokens;
      isForced: boolean;
    },
    on: Listener,
  ) {
    this.promptTokens = given.promptTokens;
    this.#tokens = given.tokens;
    this.#decoder = given.tokens.decoder();
    this.#isForced = given.isForced;
    this.#stops = new StopStrings(given.stops);
    this.#on = on;
    // What may be held back of it is held back again, and some of that may have been told at the end.
    let characters = given.saidCharacters;
    for (const id of given.said) {
      characters -= this.#stops.push(this.#decoder.push(id)).text.length;
    }
    this.#told = Math.max(0, characters);
  }

  take(token: number, { logitsDigest, logprobs }: Sample): string | undefined {
    this.outputTokens++;
    this.#ids.push(token);
    if (logitsDigest !== undefined) this.#digests.push(logitsDigest);
    if (logprobs !== undefined) this.#logprobs.push(this.#logprobOf(token, logprobs));
    const { text, stop } = this.#stops.push(this.#decoder.push(token));
    if (text !== '') this.#emit(text);
    return stop;
  }

  end(finish: Finish, outputTokens: number): void {
    this.outputTokens = outputTokens;
    if (finish.kind !== 'stopSequence') {
      const held = this.#stops.push(this.#decoder.flush());
      this.#emit(held.text + this.#stops.flush());
    }
    this.#on.ended(finish);
  }

  fail(error: GatewayError): void {
    this.#on.failed(error);
  }

  /** A forced token is certain, whatever the model thought of it. */
  #logprobOf(token: number, { logprob, top }: SampleLogprobs): TokenLogprob {
    return {
      ...likely(this.#tokens, token, this.#isForced ? 0 : logprob),
      top: top.map((other) => likely(this.#tokens, other.token, other.logprob)),
    };
  }

  #emit(found: string): void {
    const text = found.slice(this.#told);
    this.#told = Math.max(0, this.#told - found.length);
    if (text === '' && this.#ids.length === 0) return;
    const part: TextPart = { kind: 'text', text, tokens: this.#ids.length, ids: this.#ids };
    if (this.#digests.length > 0) part.engineData = { logitsDigests: this.#digests };
    if (this.#logprobs.length > 0) part.logprobs = this.#logprobs;
    this.#on.part(part);
    this.#ids = [];
    this.#digests = [];
    this.#logprobs = [];
  }
}

function likely(tokens: Tokens, id: number, logprob: number): Likely {
  const bytes = tokens.bytesOf(id);
  return { text: new TextDecoder().decode(bytes), bytes: [...bytes], logprob };
}

/** Waits for a vector instead of an answer. */
export class Vector implements Receiver {
  readonly promptTokens: number;
  cachedTokens: number | undefined;
  outputTokens = 0;
  readonly #note: string | undefined;
  readonly #on: (outcome: Embedding | GatewayError) => void;
  #vector: Float32Array | undefined;

  constructor(
    given: { promptTokens: number; note: string | undefined },
    on: (outcome: Embedding | GatewayError) => void,
  ) {
    this.promptTokens = given.promptTokens;
    this.#note = given.note;
    this.#on = on;
  }

  take(_token: number, { vector }: Sample): undefined {
    this.#vector = vector;
  }

  end(): void {
    const { promptTokens, cachedTokens } = this;
    this.#on({
      vector: must(this.#vector, 'a sequence that ends gave what it was asked for'),
      usage: { promptTokens, cachedTokens, outputTokens: 0 },
      note: this.#note,
    });
  }

  fail(error: GatewayError): void {
    this.#on(error);
  }
}
