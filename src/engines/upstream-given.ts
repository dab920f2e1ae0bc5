import type { WorkerConfig } from '../model/fleet-config.ts';
import type { KnownTokens, Tokens } from '../ports.ts';
import type { EngineTrust } from './http.ts';

/** What an upstream of any kind is made of. */
export interface UpstreamGiven {
  config: WorkerConfig;
  /** Whose certificates count, where its address is https. */
  trust?: EngineTrust | undefined;
  /** An engine silent for longer is taken as lost. */
  silenceUsMax: number;
  /** Proves to workers of ours that whoever changes their cache may. */
  kvSecret: string | undefined;
  /** How prompts of a model become tokens, by the name clients know it by. */
  known: (model: string) => KnownTokens | undefined;
  /** Compares our tokens with those an engine makes of the same texts. */
  compareTokens: (
    tokens: Tokens,
    tokenize: (texts: string[]) => Promise<ArrayLike<number>[]>,
  ) => Promise<TokenComparison>;
}

export interface TokenComparison {
  checked: number;
  differing: number;
  /** Which text differed first; empty where none did. */
  reason: string;
}
