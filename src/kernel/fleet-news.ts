/** What is heard of workers and of what they hold, told to all who keep books of that. */
import { unreachable } from '../base/assert.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Confidence } from './confidence.ts';
import type { ExactIndex } from './index/exact.ts';
import type { PredictedIndex } from './index/predicted.ts';
import type { Queues } from './queue/queues.ts';
import type { Moves } from './route/moves.ts';
import type { Underway } from './underway.ts';
import type { Workers } from './workers.ts';

type OfFleet = 'workerJoined' | 'workerLeft' | 'healthChanged' | 'drainChanged' | 'probed';
type OfBlocks = 'blocksStored' | 'blocksRemoved' | 'blocksCleared' | 'feedLost';

interface Books {
  workers: Workers;
  exact: ExactIndex;
  predicted: PredictedIndex;
  confidence: Confidence;
  underway: Underway;
  moves: Moves;
  queues: Queues;
}

export class FleetNews {
  readonly #parts: Books;

  constructor(parts: Books) {
    this.#parts = parts;
  }

  ofFleet(fact: Extract<Fact, { kind: OfFleet }>): void {
    const { workers, confidence } = this.#parts;
    switch (fact.kind) {
      case 'workerJoined':
        workers.joined(fact.worker);
        confidence.joined(fact.worker.id, fact.worker.hasEvents ? 'exact' : 'predicted');
        break;
      case 'workerLeft':
        this.#left(fact.worker);
        break;
      case 'healthChanged':
        workers.set(fact.worker, { healthy: fact.healthy });
        break;
      case 'drainChanged':
        workers.set(fact.worker, { draining: fact.draining });
        break;
      case 'probed':
        break; // Who keeps circuits heard it before.
      default:
        unreachable(fact);
    }
  }

  ofBlocks(fact: Extract<Fact, { kind: OfBlocks }>): void {
    if (fact.kind === 'blocksCleared' || fact.kind === 'feedLost') {
      this.#forgetBlocks(fact.worker);
      this.#feedIs(fact.worker, fact.kind === 'feedLost' ? 'predicted' : 'exact');
      return;
    }
    const { worker, hashes, tier } = fact;
    const { confidence, exact, underway } = this.#parts;
    // A worker that lost events says nothing more of use until it starts over.
    if (!confidence.isHeard(worker)) return;
    if (fact.kind === 'blocksStored') exact.stored(worker, hashes, tier, fact.before);
    else {
      exact.removed(worker, hashes, tier);
      underway.removed(worker, hashes);
    }
  }

  #left(worker: WorkerId): void {
    const { workers, confidence, moves, queues } = this.#parts;
    workers.left(worker);
    confidence.left(worker);
    moves.left(worker);
    queues.idle.workerLeft(worker);
    this.#forgetBlocks(worker);
  }

  #forgetBlocks(worker: WorkerId): void {
    const { exact, predicted, underway } = this.#parts;
    exact.cleared(worker);
    predicted.cleared(worker);
    underway.cleared(worker);
  }

  #feedIs(worker: WorkerId, feed: 'exact' | 'predicted'): void {
    const state = this.#parts.workers.get(worker);
    if (state?.worker.hasEvents) state.mode = this.#parts.confidence.feed(worker, feed);
  }
}
