/**
 * CPU time of hashing the blocks of a prompt of 131,072 ids, beside a loop over the native library.
 *
 *   node --import tsx src/tokens/block-hash.bench.ts
 *
 * Runs of all ways take turns in one process; figures are medians of them, as CPU time.
 */
import { xxh3 } from '@node-rs/xxhash';
import { Prng } from '../base/prng.ts';
import { table } from '../base/text.ts';
import { ChainHasher } from './block-hash.ts';

const PROMPT_TOKENS = 131_072;
const BLOCK_TOKENS = [16, 64, 256];
const RUNS = 21;
/** A run hashes so many prompts, as the clock of CPU time is coarse. */
const PROMPTS = 20;
const SEED = 1337n;
const ROOT = 1n;

const random = new Prng(1);
const ids = Uint32Array.from({ length: PROMPT_TOKENS }, () => random.below(150_000));
const bytes = new Uint8Array(ids.buffer);

const rows: (string | number)[][] = [
  ['tokens a block', 'us, at once', 'us, block by block', 'us, @node-rs/xxhash', 'ratio'],
];
for (const blockTokens of BLOCK_TOKENS) {
  const hasher = new ChainHasher({ fingerprint: 'bench', blockTokens });
  const ways = [
    () => hasher.blocks(ROOT, ids),
    () => blockByBlock(hasher),
    () => loopOverLibrary(blockTokens),
  ];
  const [last, ...others] = ways.map((way) => way().at(-1));
  if (others.some((other) => other !== last)) throw new Error('the ways differ');
  const [atOnce, byBlock, library] = medians(ways);
  rows.push([
    blockTokens,
    atOnce.toFixed(0),
    byBlock.toFixed(0),
    library.toFixed(0),
    (atOnce / library).toFixed(3),
  ]);
}
console.log(table(rows));

function blockByBlock(hasher: ChainHasher): bigint[] {
  const hashes: bigint[] = [];
  let parent = ROOT;
  for (let start = 0; start < ids.length; start += hasher.blockTokens) {
    parent = hasher.block(parent, ids, start);
    hashes.push(parent);
  }
  return hashes;
}

function loopOverLibrary(blockTokens: number): BigUint64Array {
  const blockBytes = 4 * blockTokens;
  const hashes = new BigUint64Array(PROMPT_TOKENS / blockTokens);
  const pair = BigUint64Array.of(ROOT, 0n);
  const pairBytes = new Uint8Array(pair.buffer);
  for (let i = 0; i < hashes.length; i++) {
    pair[1] = xxh3.xxh64(bytes.subarray(i * blockBytes, (i + 1) * blockBytes), SEED);
    pair[0] = xxh3.xxh64(pairBytes, SEED);
    hashes[i] = pair[0];
  }
  return hashes;
}

/** Microseconds of CPU time for one prompt. */
function medians(ways: readonly (() => unknown)[]): number[] {
  const times: number[][] = ways.map(() => []);
  for (let run = 0; run < RUNS; run++) {
    ways.forEach((way, i) => {
      const before = process.cpuUsage();
      for (let prompt = 0; prompt < PROMPTS; prompt++) way();
      const { user, system } = process.cpuUsage(before);
      times[i].push((user + system) / PROMPTS);
    });
  }
  return times.map((all) => all.sort((a, b) => a - b)[RUNS >> 1]);
}
