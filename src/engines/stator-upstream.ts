/** A worker of ours that somebody else runs: it says all there is to know on its card. */
import { parseConfig } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import { aboutOf, WorkerCard, workerOf } from '../model/worker-card.ts';
import type { Engine, Introduction, Upstream } from '../ports.ts';
import { EngineHttp } from './http.ts';
import { StatorEngine } from './stator.ts';
import type { UpstreamGiven } from './upstream-given.ts';

const CARD_SILENCE_US = 5_000_000;

export class StatorUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    const { trust, config } = given;
    const { url } = config;
    this.#http = new EngineHttp({ url, silenceUsMax: CARD_SILENCE_US, headers: {}, trust });
  }

  async introduce(): Promise<Introduction> {
    const card = parseConfig(WorkerCard, await this.#http.json('GET', '/stator/v1/card'));
    if (card.kind === 'wrong') {
      throw new Error(`shows a card that is none (${card.sentences[0]})`);
    }
    return introductionOf(card.value, { movesKv: this.#given.kvSecret !== undefined });
  }

  engine(worker: WorkerId): Engine {
    const { config, silenceUsMax, kvSecret, trust } = this.#given;
    return new StatorEngine({ worker, url: config.url, silenceUsMax, kvSecret, trust });
  }

  close(): void {
    this.#http.close();
  }
}

/** `movesKv`: whether wishes about its KV would be heard. */
export function introductionOf(card: WorkerCard, { movesKv }: { movesKv: boolean }): Introduction {
  const { id: _, ...worker } = workerOf('' as WorkerId, card);
  if (!movesKv) worker.kvLayout = worker.takesWishes = undefined;
  return {
    run: `${card.pid} ${card.startMs} ${card.events?.endpoint}`,
    worker,
    about: aboutOf(card),
    events: card.events ?? undefined,
    adapters: [],
  };
}
