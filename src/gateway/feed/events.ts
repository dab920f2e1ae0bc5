/**
 * What the events of one worker say, as facts for the kernel. They are used only while all before them
 * is known; of what is not ours to use (other ranks, groups of a hybrid model whose blocks say nothing
 * of a prefix) only the count is kept.
 */
import type { WorkerId } from '../../model/ids.ts';
import type { BlockHasher, Sink } from '../../ports.ts';
import type {
  BatchHead,
  EventListener,
  RemovedBlocks,
  Skip,
  StoredBlocks,
} from '../../wire/kv-event-reader.ts';
import type { Host } from '../host.ts';
import { FeedAccount } from './account.ts';
import { BlockNames, type NamesLimits } from './block-names.ts';

/** Kinds of layers whose blocks mean that the whole prefix is there; of others only a window is kept. */
const WHOLE_PREFIX = new Set(['full_attention', 'mla_attention', 'sink_full_attention']);

/** Engines pad vocabularies to round numbers, and a model may say what nobody has a text for. */
const PADDING_MAX = 1024;

export interface FeedEventsParts {
  worker: WorkerId;
  host: Pick<Host, 'tell'>;
  sink: Sink;
  hasher: BlockHasher;
  /** No token of the worker's model is as large. */
  vocabularySize: number;
  limits: NamesLimits;
  /** Its events can never be used; one sentence. */
  unfit: (sentence: string) => void;
}

export class FeedEvents implements EventListener {
  readonly account = new FeedAccount();
  readonly names: BlockNames;
  readonly #parts: FeedEventsParts;
  #isComplete = false;
  #atS: number | undefined;
  /** Whose events they are: the first rank seen; and whether this batch is of it. */
  #rank: number | undefined;
  #isOwnRank = true;
  /** The group whose blocks count; undefined until one of a known kind was seen. */
  #group: number | undefined;

  constructor(parts: FeedEventsParts) {
    this.#parts = parts;
    this.names = new BlockNames(parts.hasher, parts.limits);
  }

  /** Whether all that the worker holds is known. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** When the last batch was made, seconds since 1970. */
  get atS(): number | undefined {
    return this.#atS;
  }

  /** It holds nothing; from here on all is known. */
  startOver(): void {
    this.names.clear();
    this.#isComplete = true;
    this.#parts.host.tell({ kind: 'blocksCleared', worker: this.#parts.worker });
  }

  /** Something is missing: what was heard is worth nothing until the next start. */
  forget(): void {
    this.names.clear();
    this.#isComplete = false;
    this.#parts.host.tell({ kind: 'feedLost', worker: this.#parts.worker });
  }

  begin({ atS, rank = 0 }: BatchHead): void {
    this.#atS = atS;
    this.#rank ??= rank;
    this.#isOwnRank = rank === this.#rank;
    if (this.#isOwnRank || !this.account.add('otherRank')) return;
    this.#warn(
      `publishes events of data-parallel ranks ${this.#rank} and ${rank} at one address; only rank ${this.#rank} is followed: name each rank's address as a worker of its own`,
    );
  }

  stored(event: StoredBlocks): void {
    const { host, worker, hasher, vocabularySize, unfit } = this.#parts;
    this.account.add('stored');
    if (!this.#isOwnRank || !this.#isOwnGroup(event.group, event.specKind)) return;
    if (event.blockTokens !== hasher.blockTokens) {
      return unfit(
        `${worker} has blocks of ${event.blockTokens} tokens, but ${hasher.blockTokens} were expected; its events are not used`,
      );
    }
    const foreign = event.tokens.find((id) => id >= vocabularySize + PADDING_MAX);
    if (foreign !== undefined) {
      return unfit(
        `${worker} tells of token ${foreign}, but its model has ${vocabularySize}: these are events of another model, and are not used`,
      );
    }
    if (!this.#isComplete) return;
    this.account.add('blocks', event.count);
    const naming = this.names.stored(event);
    if (naming.kind === 'orphans') {
      if (this.account.add('orphans')) this.#warn('tells of blocks whose parents it never told of');
      return;
    }
    if (naming.kind === 'full') {
      return unfit(
        `${worker} tells of more blocks than there is room for; its events are not used`,
      );
    }
    for (const { hashes, before, tier } of naming.runs) {
      host.tell({ kind: 'blocksStored', worker, hashes, before, tier });
    }
  }

  removed(event: RemovedBlocks): void {
    const { host, worker } = this.#parts;
    this.account.add('removed');
    if (!this.#isOwnRank || !this.#isOwnGroup(event.group, undefined) || !this.#isComplete) return;
    const hashes = this.names.removed(event);
    this.account.add('unknownRemoved', event.count - hashes.length);
    if (hashes.length > 0) host.tell({ kind: 'blocksRemoved', worker, hashes, tier: event.tier });
  }

  cleared(): void {
    this.account.add('cleared');
    if (this.#isOwnRank) this.startOver();
  }

  skipped(why: Skip): void {
    if (!this.account.add(why)) return;
    if (why === 'unknownMedium') this.#warn('keeps blocks on a medium that is not known here');
    if (why === 'malformed') this.#warn('tells of blocks whose tokens do not fill them');
  }

  /** Removals name no kind: what is known of their group decides. */
  #isOwnGroup(group: number | undefined, kind: string | undefined): boolean {
    if (kind !== undefined && WHOLE_PREFIX.has(kind)) this.#group ??= group ?? 0;
    const isOwn =
      (group ?? 0) === (this.#group ?? 0) && (kind === undefined || WHOLE_PREFIX.has(kind));
    if (!isOwn) this.account.add('otherGroup');
    return isOwn;
  }

  #warn(what: string): void {
    const { sink, worker } = this.#parts;
    sink.note({ kind: 'warning', sentence: `${worker} ${what}.`.replace(/\.$/, '') });
  }
}
