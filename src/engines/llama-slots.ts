/**
 * What lies in the slots of a llama.cpp server, as far as its answers tell. While all prompts may share
 * KV, the server itself finds the slot that holds most of one. Where tenants' KV must be kept apart it
 * does not know which is whose: then slots are chosen here, and one that holds another's is computed anew.
 */
export interface SlotChoice {
  /** Undefined: the server's to choose. */
  slot: number | undefined;
  /** Whether it may take what the slot holds. */
  cachePrompt: boolean;
}

/** Whose prompt it is. */
export interface SlotUse {
  /** Nothing is shared across salts. */
  salt: string;
  thread: string | undefined;
  /** Undefined where the prompt passes through as text. */
  ids: Uint32Array | undefined;
}

interface HeldSlot {
  slot: number;
  busy: boolean;
  tokens: number;
  use: SlotUse;
}

interface Slot {
  /** Undefined: nobody's yet, or unknown. */
  use: SlotUse | undefined;
  /** Nobody can have come to it since, unheard. */
  isSure: boolean;
  /** Of the last prompt and its answer. */
  tokens: number;
  running: number;
  /** Which of all uses came to it last. */
  usedAt: number;
}

/**
 * The server takes what its slot holds of a prompt; but where that is less than half of what the slot
 * holds, or a tenth of the prompt, it looks for more in its host memory, among prompts of everybody
 * (server-context.cpp; `--slot-prompt-similarity` by default).
 */
const KEPT_SHARE_MIN = 0.5;
const PROMPT_SHARE_MIN = 0.1;

export class LlamaSlots {
  readonly #slots: Slot[];
  readonly #salts = new Set<string>();
  #uses = 0;
  /** Prompts that run where the server wanted: until they end, nobody knows what lies where. */
  #unplaced = 0;
  /** What began until then may have been followed, unheard. */
  #doubtedAt = 0;

  constructor(count: number) {
    this.#slots = Array.from({ length: count }, () => ({
      use: undefined,
      isSure: true,
      tokens: 0,
      running: 0,
      usedAt: 0,
    }));
  }

  /** So many tokens lie in each, and whether it runs. */
  state(): { busy: boolean; tokens: number }[] {
    return this.#slots.map(({ running, tokens }) => ({ busy: running > 0, tokens }));
  }

  choose(use: SlotUse): SlotChoice {
    if (this.#salts.size < 2) this.#salts.add(use.salt);
    if (this.#salts.size < 2) return { slot: undefined, cachePrompt: true };
    const least = Math.min(...this.#slots.map(({ running }) => running));
    const free = this.#slots.filter(({ running }) => running === least);
    const isKnown = least === 0 && this.#unplaced === 0;
    const own = isKnown ? this.#ownOf(free, use) : undefined;
    if (own !== undefined) return { slot: this.#slots.indexOf(own), cachePrompt: true };
    const oldest = free.reduce((a, b) => (a.usedAt <= b.usedAt ? a : b));
    return { slot: this.#slots.indexOf(oldest), cachePrompt: false };
  }

  /**
   * `slot` was told to run a prompt. The returned function says what it came to: what lies where, or that
   * nobody knows.
   */
  began(
    slot: number | undefined,
  ): (left: { use: SlotUse; tokens: number } | undefined, where: number | undefined) => void {
    const chosen = slot === undefined ? undefined : this.#slots[slot];
    const turn = ++this.#uses;
    if (chosen === undefined) this.#unplaced++;
    else Object.assign(chosen, { running: chosen.running + 1, use: undefined, usedAt: turn });
    return (left, where) => {
      if (chosen === undefined) this.#unplaced--;
      else chosen.running--;
      if (chosen === undefined && (left === undefined || where === undefined)) this.#doubt();
      const held = where === undefined ? undefined : this.#slots[where];
      // Whoever came to it later came after this one, in whatever order their ends are heard.
      if (held === undefined || left === undefined || held.usedAt > turn) return;
      const isSure = turn > this.#doubtedAt;
      Object.assign(held, { use: left.use, isSure, tokens: left.tokens, usedAt: turn });
    };
  }

  /** Where the KV of a thread's last prompt lies, if nobody else came to the slot since. */
  of(thread: string, salt: string): HeldSlot | undefined {
    for (const [slot, { use, running, tokens }] of this.#slots.entries()) {
      if (use === undefined || use.thread !== thread || use.salt !== salt) continue;
      return { slot, busy: running > 0, tokens, use };
    }
    return undefined;
  }

  /** One that runs nothing, as far as is known; the one unused for longest. */
  free(): number | undefined {
    const free = this.#slots.filter(({ running }) => running === 0);
    if (free.length === 0) return undefined;
    return this.#slots.indexOf(free.reduce((a, b) => (a.usedAt <= b.usedAt ? a : b)));
  }

  /** It holds this now; nothing where `use` is undefined. */
  holds(slot: number, use: SlotUse | undefined, tokens: number): void {
    const held = this.#slots[slot];
    if (held !== undefined) {
      Object.assign(held, { use, isSure: true, tokens, usedAt: ++this.#uses });
    }
  }

  /** A prompt was broken off in a slot that nobody knows. */
  #doubt(): void {
    this.#doubtedAt = this.#uses;
    for (const slot of this.#slots) slot.isSure = false;
  }

  /** Of the same salt, the one that holds most of the prompt, where the server looks nowhere else. */
  #ownOf(free: readonly Slot[], { salt, ids }: SlotUse): Slot | undefined {
    if (ids === undefined) return undefined;
    let best: Slot | undefined;
    let most = PROMPT_SHARE_MIN * ids.length;
    for (const slot of free) {
      if (!slot.isSure || slot.use?.salt !== salt || slot.use.ids === undefined) continue;
      const shared = commonLength(slot.use.ids, ids);
      if (shared <= most || shared < KEPT_SHARE_MIN * slot.tokens) continue;
      best = slot;
      most = shared;
    }
    return best;
  }
}

function commonLength(a: Uint32Array, b: Uint32Array): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
