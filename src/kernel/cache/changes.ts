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
