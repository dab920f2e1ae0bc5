/** Files of an earlier run become blocks of the tree again, parents before their children. */
import type { BlockHash } from '../../model/block.ts';
import type { FileId, FoundFile } from '../../model/step.ts';
import type { DiskTier } from './disk.ts';
import { type Block, type BlockTree, chainOf } from './tree.ts';

export interface Restored {
  blocks: Block[];
  /** One that ends with each file, in the order the files were given. */
  chains: Block[][];
  /** Nothing leads to what they hold, or another holds it too, or there is no room. */
  useless: FileId[];
}

export function restoreFiles(
  found: readonly FoundFile[],
  into: { tree: BlockTree; disk: DiskTier; blockTokens: number },
): Restored {
  const { tree, disk, blockTokens } = into;
  const byParent = new Map<BlockHash | undefined, FoundFile[]>();
  for (const one of found) {
    disk.skip(one.file);
    const { parent } = one.content;
    byParent.set(parent, [...(byParent.get(parent) ?? []), one]);
  }
  const ends = new Map<FileId, Block>();
  const blocks: Block[] = [];
  const next = [...(byParent.get(undefined) ?? [])];
  for (let one = next.pop(); one !== undefined; one = next.pop()) {
    const { hashes, tokens, salt, parent } = one.content;
    const before = parent === undefined ? undefined : tree.get(parent);
    const isWhole = hashes.length > 0 && tokens.length === hashes.length * blockTokens;
    const isNew = !hashes.some((hash) => tree.get(hash) !== undefined);
    const fits = !disk.lacks(disk.bytesOf(hashes.length));
    if (!isWhole || !isNew || !fits || (before !== undefined && before.salt !== salt)) continue;
    const chain = chainOf(before);
    tree.lock(chain);
    const added: Block[] = [];
    hashes.forEach((hash, i) => {
      const ids = tokens.slice(i * blockTokens, (i + 1) * blockTokens);
      const last = added[i - 1] ?? before;
      added.push(tree.add({ hash, parent: last, tokens: ids, salt }));
    });
    disk.add(added, one.file);
    tree.unlock([...chain, ...added]);
    ends.set(one.file, added[added.length - 1]);
    blocks.push(...added);
    for (const hash of hashes) next.push(...(byParent.get(hash) ?? []));
  }
  const useless = found.flatMap(({ file }) => (ends.has(file) ? [] : [file]));
  const chains = found.flatMap(({ file }) => (ends.has(file) ? [chainOf(ends.get(file))] : []));
  return { blocks, chains, useless };
}
