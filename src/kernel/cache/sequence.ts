/** One answer an engine works on: ids, of which some are computed. */
import type { BlockHash, BlockHashes } from '../../model/block.ts';
import { IDLE_PRIORITY, type Sampling } from '../../model/request.ts';
import type { SequenceId, Slice, Wants } from '../../model/step.ts';

export interface Spec {
  ids: Uint32Array;
  /** Of the prompt's full blocks. */
  hashes: BlockHashes;
  /** Where the chain starts. */
  root: BlockHash;
  salt: string;
  /** Whose last request this is, by a name that no other tenant can have. */
  thread?: string | undefined;
  /** Higher is more important. */
  priority: number;
  sampling: Sampling;
  outputTokensMax: number;
  endTokens: ReadonlySet<number>;
  /** Emitted instead of what is sampled; then the answer ends. */
  forced: Uint32Array | undefined;
  /** Ends the answer after so many tokens, for models that never would. */
  answerTokens: number | undefined;
  wants: Wants;
}

export class Sequence {
  readonly id: SequenceId;
  readonly spec: Spec;
  ids: Uint32Array;
  /** Ids so far: prompt and answer. */
  length: number;
  /** Of them, those whose KV is in the slot. */
  computed = 0;
  cachedTokens = 0;
  keptBlocks = 0;
  lastHash: BlockHash;
  outputTokens = 0;
  slot = 0;
  stopped = false;
  /** Answers that had ended when the cache was last told that it waits. */
  expectedAt: number | undefined;
  /** Whether the runner has a sampler for it; it keeps it while preempted. */
  isOpen = false;
  served = 0;
  readonly servedAtArrival: number;

  constructor(id: SequenceId, spec: Spec, servedAtArrival: number) {
    this.id = id;
    this.spec = spec;
    this.servedAtArrival = servedAtArrival;
    this.ids = spec.ids;
    this.length = spec.ids.length;
    this.lastHash = spec.root;
  }

  get priority(): number {
    return this.spec.priority;
  }

  /** Nobody waits for it: it pauses while somebody waits for another. */
  get isIdle(): boolean {
    return this.spec.priority <= IDLE_PRIORITY;
  }

  /** Ids to compute. */
  get left(): number {
    return this.length - this.computed;
  }

  get isDecoding(): boolean {
    return this.outputTokens > 0 && this.left === 1;
  }

  append(token: number): void {
    if (this.length === this.ids.length) {
      const grown = new Uint32Array(this.length + Math.max(256, this.length >> 2));
      grown.set(this.ids);
      this.ids = grown;
    }
    this.ids[this.length++] = token;
  }

  /** `again`: so many before them, which were computed, once more. */
  slice(count: number, again = 0): Slice {
    const position = this.computed - again;
    const end = this.computed + count;
    return {
      slot: this.slot,
      sequence: this.id,
      tokens: this.ids.slice(position, end),
      position,
      sample: end === this.length,
    };
  }
}
