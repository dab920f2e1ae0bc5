/**
 * What generated coding agents are like: every number of the generator. A prompt has layers,
 *
 *     tools + system (all sessions) │ repository (its sessions) │ files and task (own) │ history (grows)
 *
 * and a turn's prompt is the one before, its answer and what a tool or a human added.
 */
import type { Distribution } from './distribution.ts';

export interface CodingAgentsSettings {
  sessions: number;
  blockTokens: number;
  model: string;
  /** Tools and system prompt: one text for all sessions. */
  sharedTokens: number;
  /** Repositories, of which each session has one, the first ones oftener (share 1/rank). */
  repositories: { count: number; tokens: Distribution };
  /** Files and task with which a session begins. */
  ownTokens: Distribution;
  /** Sessions that begin with a history, resumed or handed over, of so many tokens. */
  resumed: { share: number; tokens: Distribution };
  /** In a session's first turns the agent looks around, and what it reads is so many times as long. */
  exploring: { turns: number; times: number };
  turns: Distribution;
  outputTokens: Distribution;
  /** From sending to the answer's end, on the machine that the trace stands for. */
  serviceS: Distribution;
  /** What comes between an answer and the next prompt; shares are of all turns. */
  tools: readonly Step[];
  /** The same where the model's turn is over and somebody has to say something: long, or very long. */
  human: Step;
  /** Undefined: none. */
  subAgents: SubAgents | undefined;
  /** Windows by share of sessions; a prompt that fills more than `compactAt` of one is compacted. */
  contexts: readonly { share: number; tokens: number }[];
  compactAt: number;
  /** What a compaction leaves of the history. */
  summaryTokens: Distribution;
  /** Turns that rewrite history (an edited message, cleared tool results): how much of the prompt is kept. */
  rewrites: { share: number; keepLeast: number; keepMost: number };
}

export interface Step {
  name: string;
  share: number;
  seconds: Distribution;
  /** Added to the prompt. */
  tokens: Distribution;
}

export interface SubAgents {
  /** Of the parent's turns. */
  share: number;
  /** Of the shared text; its tools come first, and sub-agents have most of them. */
  prefixTokens: number;
  taskTokens: Distribution;
  turns: Distribution;
  /** What the parent reads of it. */
  resultTokens: Distribution;
}

/**
 * Fitted to the statistics published of 710 Claude Code sessions (`published.ts`), not to any sample of them. Most
 * lines were solved on their own from the quantiles: turns are Weibull (median 39, mean 63.8), outputs a shifted
 * log-normal (p50 216, p99 3,686), gaps and new tokens mixtures over what tools do, with 14 % of turns for humans.
 * First prompts (p50 21,643, mean 84,690) say how many sessions are resumed, last ones how fast a session begins.
 */
export const CODING_AGENTS: CodingAgentsSettings = {
  sessions: 200,
  blockTokens: 64,
  model: 'coding-model',
  sharedTokens: 14_500,
  repositories: { count: 60, tokens: lognormal(300, 1_200, 0.8) },
  ownTokens: lognormal(200, 1_500, 1.1),
  resumed: { share: 0.4, tokens: lognormal(20_000, 110_000, 0.9) },
  exploring: { turns: 8, times: 3 },
  turns: { kind: 'weibull', scale: 59.2, shape: 0.877 },
  outputTokens: lognormal(80, 136, 1.4),
  serviceS: lognormal(2.2, 3.9, 1.1),
  tools: [
    { name: 'read', share: 0.3, seconds: lognormal(1.5, 4, 0.9), tokens: lognormal(110, 800, 1.4) },
    {
      name: 'search',
      share: 0.18,
      seconds: lognormal(1.5, 7, 0.8),
      tokens: lognormal(80, 420, 1.2),
    },
    { name: 'edit', share: 0.14, seconds: lognormal(1.5, 7, 0.8), tokens: lognormal(70, 160, 0.9) },
    { name: 'shell', share: 0.14, seconds: lognormal(2, 18, 1.2), tokens: lognormal(80, 300, 1.4) },
    { name: 'test', share: 0.1, seconds: lognormal(3, 45, 1.1), tokens: lognormal(90, 700, 1.5) },
  ],
  human: {
    name: 'human',
    share: 0.14,
    seconds: lognormal(5, 200, 1.85),
    tokens: lognormal(60, 250, 1.7),
  },
  subAgents: {
    share: 0.0013,
    prefixTokens: 7_800,
    taskTokens: lognormal(300, 900, 0.8),
    turns: { kind: 'weibull', scale: 16, shape: 1.5 },
    resultTokens: lognormal(300, 1_200, 0.7),
  },
  contexts: [
    { share: 0.75, tokens: 200_000 },
    { share: 0.25, tokens: 1_000_000 },
  ],
  compactAt: 0.92,
  summaryTokens: lognormal(4_000, 12_000, 0.6),
  rewrites: { share: 0.013, keepLeast: 0.1, keepMost: 0.8 },
};

/**
 * Small enough to be computed live on a CPU: 12 sessions of 10 turns from 2,000 shared tokens to about 12,000,
 * answers of 60 tokens, half a second between turns.
 */
export const LIVE_CODING_AGENTS: CodingAgentsSettings = {
  sessions: 12,
  blockTokens: 16,
  model: 'coding-model',
  sharedTokens: 2_000,
  repositories: { count: 1, tokens: { kind: 'fixed', value: 0 } },
  ownTokens: lognormal(100, 690, 0.6),
  resumed: { share: 0, tokens: { kind: 'fixed', value: 0 } },
  exploring: { turns: 0, times: 1 },
  turns: { kind: 'fixed', value: 10 },
  outputTokens: { kind: 'fixed', value: 60 },
  serviceS: { kind: 'fixed', value: 0 },
  tools: [
    {
      name: 'tool',
      share: 1,
      seconds: { kind: 'fixed', value: 0.5 },
      tokens: lognormal(50, 770, 0.6),
    },
  ],
  human: {
    name: 'human',
    share: 0,
    seconds: { kind: 'fixed', value: 0.5 },
    tokens: { kind: 'fixed', value: 50 },
  },
  subAgents: undefined,
  contexts: [{ share: 1, tokens: 1_000_000 }],
  compactAt: 1,
  summaryTokens: { kind: 'fixed', value: 0 },
  rewrites: { share: 0, keepLeast: 0, keepMost: 0 },
};

function lognormal(least: number, median: number, sigma: number): Distribution {
  return { kind: 'lognormal', least, median, sigma };
}
