/**
 * Which model a request is to be answered by: the one its session was dealt, where the name stands for
 * several, and then the fallbacks, while nobody can serve it and nothing was said to its client.
 */
import { GatewayError } from '../model/error.ts';
import type { Ask } from '../wire/wire.ts';
import type { Models } from './models.ts';
import type { Manners } from './patience.ts';

interface Wanted {
  ask: Ask;
  manners: Manners;
}

export class FallbackTurns {
  readonly #models: Models;
  readonly #fallbackUs: number;
  readonly #wanted: Wanted;
  /** Names that are left, the present one first; undefined before anybody knows whose it is. */
  #names: string[] | undefined;
  /** Those that could not serve it. */
  readonly #failed: string[] = [];

  /** `fallbackUs`: for so long a model is waited for that has somebody to stand in. */
  constructor(models: Models, fallbackUs: number, wanted: Wanted) {
    this.#models = models;
    this.#fallbackUs = fallbackUs;
    this.#wanted = wanted;
  }

  get isFirst(): boolean {
    return this.#failed.length === 0;
  }

  /** By a name of which the limits are known before it is known whose request it is. */
  get name(): string {
    return this.#names?.[0] ?? this.#wanted.ask.model;
  }

  /** The request for the model whose turn it is; `key`: whose session, so that it stays with its model. */
  asked(key: string): Wanted {
    const { ask, manners } = this.#wanted;
    const names = (this.#names ??= this.#models.chain(ask.model, key));
    // Nobody waits for a model of which there is no worker, where another one stands in.
    while (names.length > 1 && !this.#models.isUp(names[0])) this.#failed.push(names.shift() ?? '');
    const [model] = names;
    const patienceUs = Math.min(manners.patienceUs, manners.holdUs, this.#fallbackUs);
    return {
      ask: { ...ask, model, hints: { ...ask.hints, notes: this.#notes(model) } },
      // A stream that has begun says which model speaks.
      manners: names.length > 1 ? { ...manners, patienceUs } : manners,
    };
  }

  /** Whether another model may answer what failed so. */
  next(thrown: unknown): boolean {
    if (this.#names === undefined || this.#names.length < 2) return false;
    if (!(thrown instanceof GatewayError) || !this.#models.fallsBack(thrown)) return false;
    this.#failed.push(this.#names.shift() ?? '');
    return true;
  }

  #notes(model: string): readonly string[] | undefined {
    const { notes } = this.#wanted.ask.hints;
    if (this.#failed.length === 0) return notes;
    const failed = this.#failed.map((name) => JSON.stringify(name)).join(', ');
    const sentence = `No engine could serve ${failed}: ${JSON.stringify(model)} answers instead.`;
    return [...(notes ?? []), sentence];
  }
}
