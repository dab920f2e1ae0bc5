/** Seeded agents: families that share a system prompt, histories that grow, gaps between turns. */
import type { Prng } from '../base/prng.ts';

export interface Agent {
  id: string;
  system: string;
  startUs: number;
  turns: Turn[];
  /** Of all its turns; larger is more urgent. */
  priority: number;
  /** Nobody waits for its answers. */
  whenIdle: boolean;
}

export interface Turn {
  /** What the user, or a tool, adds. */
  text: string;
  outputTokensMax: number;
  /** From the answer's end to the next turn. */
  gapUs: number;
}

export interface AgentsShape {
  agents: number;
  families: number;
  turnsMax: number;
  systemWords: number;
  turnWords: number;
  /** Agents begin within this. */
  startUs: number;
  gapUsMax: number;
  outputTokensMax: number;
}

export function makeAgents(rng: Prng, shape: AgentsShape): Agent[] {
  const systems = Array.from({ length: shape.families }, (_, family) =>
    words(rng.fork(`system ${family}`), shape.systemWords),
  );
  return Array.from({ length: shape.agents }, (_, i) => {
    const own = rng.fork(`agent ${i}`);
    return {
      id: `agent-${i}`,
      system: own.pick(systems),
      startUs: own.below(shape.startUs),
      turns: Array.from({ length: 1 + own.below(shape.turnsMax) }, () => ({
        text: words(own, 1 + own.below(shape.turnWords)),
        outputTokensMax: 1 + own.below(shape.outputTokensMax),
        gapUs: 1 + own.below(shape.gapUsMax),
      })),
      // Every sixth each: the others have nothing to say.
      priority: i % 6 === 4 ? 1 + own.below(5) : 0,
      whenIdle: i % 6 === 5,
    };
  });
}

const WORDS =
  'file test the error line in function value return call build a fix read write list of path name and run result check data type user system not found to is'.split(
    ' ',
  );

function words(rng: Prng, count: number): string {
  return Array.from({ length: count }, () => rng.pick(WORDS)).join(' ');
}
