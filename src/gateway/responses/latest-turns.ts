/**
 * The last turn of each connection, stored or not, so that the next one brings only what is new. What it
 * takes of memory is bounded over all connections: the turn unused for longest goes, and its client sends
 * the whole conversation again (measured: Codex does so within 0.25 s).
 */
import type { TenantId } from '../../model/ids.ts';
import { Chain } from './chain.ts';
import type { ResponseRecord } from './chain-record.ts';
import type { Chains } from './turn.ts';

interface Held {
  tenant: TenantId;
  chainKey: string;
  chain: Chain;
  bytes: number;
}

export class LatestTurns {
  readonly #bytesMax: number;
  #bytes = 0;
  /** The one unused for longest is first. */
  readonly #held = new Map<LatestTurn, Held>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Of a new connection. */
  connection(): LatestTurn {
    return new LatestTurn(this);
  }

  held(by: LatestTurn): Held | undefined {
    return this.#held.get(by);
  }

  hold(by: LatestTurn, held: Held): void {
    this.drop(by);
    this.#held.set(by, held);
    this.#bytes += held.bytes;
    for (const oldest of this.#held.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.drop(oldest);
    }
  }

  drop(by: LatestTurn): void {
    this.#bytes -= this.#held.get(by)?.bytes ?? 0;
    this.#held.delete(by);
  }
}

export class LatestTurn implements Chains {
  readonly #all: LatestTurns;

  constructor(all: LatestTurns) {
    this.#all = all;
  }

  async find(tenant: TenantId, chainKey: string): Promise<Chain | undefined> {
    const held = this.#all.held(this);
    return held?.tenant === tenant && held.chainKey === chainKey ? held.chain : undefined;
  }

  /** `record` holds all of its conversation; `bytes`: what the turn brought and was answered. */
  keep(given: { tenant: TenantId; chainKey: string; record: ResponseRecord; bytes: number }): void {
    const { tenant, chainKey, record } = given;
    const before = this.#all.held(this);
    const bytes =
      before?.chainKey === chainKey ? before.bytes + given.bytes : JSON.stringify(record).length;
    this.#all.hold(this, { tenant, chainKey, chain: new Chain([record]), bytes });
  }

  /** The connection is over. */
  forget(): void {
    this.#all.drop(this);
  }
}
