/**
 * A page of slots in a hash table's memory: [tag, address] × 1024, linear probing from the tag's last
 * bits, backward-shift delete. Address 0: the slot is empty.
 */

/** Words of a page. */
export const PAGE_WORDS = 2048;
export const PAGE_SLOTS = PAGE_WORDS / 2;
export const SLOT_MASK = PAGE_SLOTS - 1;
/** In a slot, with the address: another key of the table has the same tag. */
const SHARED_TAG = 0x8000_0000 | 0;
export const ADDRESS = 0x7fff_ffff;

/** `address`: as it stands in a slot. Whoever has the same tag is marked, and so is this one. */
export function place(
  memory: Int32Array,
  page: number,
  slotted: { tag: number; address: number },
): void {
  let { address } = slotted;
  let slot = slotted.tag & SLOT_MASK;
  while (memory[page + 2 * slot + 1] !== 0) {
    if (memory[page + 2 * slot] === slotted.tag) {
      memory[page + 2 * slot + 1] |= SHARED_TAG;
      address |= SHARED_TAG;
    }
    slot = (slot + 1) & SLOT_MASK;
  }
  memory[page + 2 * slot] = slotted.tag;
  memory[page + 2 * slot + 1] = address;
}

/** Takes the address out of its slot. */
export function unplace(
  memory: Int32Array,
  page: number,
  { tag, address }: { tag: number; address: number },
): void {
  let hole = tag & SLOT_MASK;
  while ((memory[page + 2 * hole + 1] & ADDRESS) !== address) hole = (hole + 1) & SLOT_MASK;
  // Backward shift: whoever was pushed past the hole moves into it, so that no search ends early.
  for (let slot = (hole + 1) & SLOT_MASK; ; slot = (slot + 1) & SLOT_MASK) {
    const moved = memory[page + 2 * slot + 1];
    if (moved === 0) break;
    const pushed = (slot - memory[page + 2 * slot]) & SLOT_MASK;
    if (pushed < ((slot - hole) & SLOT_MASK)) continue;
    memory[page + 2 * hole] = memory[page + 2 * slot];
    memory[page + 2 * hole + 1] = moved;
    hole = slot;
  }
  memory[page + 2 * hole + 1] = 0;
}

/** 32 bits of the key, each of its bits felt at both ends: the first choose a page, the last a slot. */
export function mix(low: number, high: number): number {
  let tag = low ^ Math.imul(high, 0x9e3779b1);
  tag = Math.imul(tag ^ (tag >>> 16), 0x7feb352d);
  return tag ^ (tag >>> 15);
}
