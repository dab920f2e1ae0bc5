/** What changed in a cache, as KV events that tell exactly that in as few words as possible. */
import type { BlockHash, KvEvent, Tier } from '../../model/block.ts';
import type { Block } from './tree.ts';

export type Change =
  | { kind: 'stored'; block: Block; tier: Tier }
  | { kind: 'removed'; hash: BlockHash; tier: Tier }
  | { kind: 'cleared' };

/** Neighbouring changes become one event: a run of a chain, or several removals of one tier. */
export function eventsOf(changes: readonly Change[], blockTokens: number): KvEvent[] {
  const events: KvEvent[] = [];
  for (let i = 0; i < changes.length; ) {
    const change = changes[i];
    if (change.kind === 'cleared') {
      events.push({ kind: 'cleared' });
      i++;
    } else if (change.kind === 'removed') {
      const hashes: BlockHash[] = [];
      for (let next: Change = change; next?.kind === 'removed' && next.tier === change.tier; ) {
        hashes.push(next.hash);
        next = changes[++i];
      }
      events.push({ kind: 'removed', hashes, tier: change.tier });
    } else {
      const run: Block[] = [];
      for (let next: Change = change; next?.kind === 'stored' && continues(run, next, change); ) {
        run.push(next.block);
        next = changes[++i];
      }
      events.push(storedEvent(run, change.tier, blockTokens));
    }
  }
  return events;
}

/** Blocks told of in one piece, where all that is held is told. */
const PIECE_BLOCKS = 256;

/**
 * All that is held, in pieces: whoever draws them may wait in between, while blocks come and go. A block
 * that stays meanwhile is told of, and its parent before it, when both are in the order they came in.
 */
export function* heldEvents(blocks: Iterable<Block>, blockTokens: number): Generator<KvEvent[]> {
  let piece: Block[] = [];
  for (const block of blocks) {
    piece.push(block);
    if (piece.length < PIECE_BLOCKS) continue;
    yield eventsOf(storedOf(piece), blockTokens);
    piece = [];
  }
  if (piece.length > 0) yield eventsOf(storedOf(piece), blockTokens);
}

/** A run of a chain that lies in the same tiers is told tier by tier. */
function storedOf(blocks: readonly Block[]): Change[] {
  const changes: Change[] = [];
  for (let i = 0; i < blocks.length; ) {
    const tiers = tiersOf(blocks[i]);
    const run = [blocks[i++]];
    while (
      i < blocks.length &&
      blocks[i].parent === run[run.length - 1] &&
      tiersOf(blocks[i]).join() === tiers.join()
    ) {
      run.push(blocks[i++]);
    }
    for (const tier of tiers)
      for (const block of run) changes.push({ kind: 'stored', block, tier });
  }
  return changes;
}

/** Those of which it was told that the block lies there. */
function tiersOf(block: Block): Tier[] {
  const tiers: Tier[] = [];
  if (block.forgotten) return tiers;
  if (block.slots.length > 0) tiers.push('device');
  if (block.host !== undefined && !block.arriving) tiers.push('host');
  if (block.file?.state === 'saved') tiers.push('disk');
  return tiers;
}

function continues(
  run: Block[],
  next: { block: Block; tier: Tier },
  first: { tier: Tier },
): boolean {
  return (
    run.length === 0 || (next.tier === first.tier && next.block.parent === run[run.length - 1])
  );
}

function storedEvent(run: readonly Block[], tier: Tier, blockTokens: number): KvEvent {
  const tokens = new Uint32Array(run.length * blockTokens);
  run.forEach((block, i) => {
    tokens.set(block.tokens, i * blockTokens);
  });
  return {
    kind: 'stored',
    hashes: run.map((block) => block.hash),
    parent: run[0].parent?.hash,
    tokens,
    blockTokens,
    tier,
    extraKeys: run[0].salt === '' ? [] : [run[0].salt],
  };
}
