/** An engine that is somebody's service, whichever API it speaks. */
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Embedding, Engine, Job } from '../ports.ts';
import type { EngineHttp } from './http.ts';

export interface HostedGiven<Manners> {
  worker: WorkerId;
  http: EngineHttp;
  /** Its name of the model. */
  model: string;
  /** What was learnt of it: that outlives the connections to it. */
  manners: Manners;
  healthy: () => Promise<boolean>;
}

export abstract class HostedEngine<Given extends HostedGiven<unknown>> implements Engine {
  readonly worker: WorkerId;
  protected readonly given: Given;

  constructor(given: Given) {
    this.worker = given.worker;
    this.given = given;
  }

  abstract generate(job: Job, signal: AbortSignal): AsyncIterable<Part>;

  abstract embed(job: Job, signal: AbortSignal): Promise<Embedding>;

  /** Its cache is not ours to empty, and whoever empties ours means those. */
  async resetCache(): Promise<void> {}

  healthy(): Promise<boolean> {
    return this.given.healthy();
  }

  /** It does not tell. */
  async report(): Promise<undefined> {
    return undefined;
  }

  close(): void {
    this.given.http.close();
  }
}
