/** Recorded conversations as calls of a client: prompts as they were, answers forced to what was said. */
import type { Tokens } from '../ports.ts';
import type { ScriptedSession } from './drive.ts';
import { forcedAnswer, type Session } from './sessions.ts';

/** Recordings know no think time: each call follows the answer before it. */
export function scriptOf(
  session: Session,
  given: { model: string; tokens: Tokens },
): ScriptedSession {
  return {
    id: session.id,
    calls: session.calls.map((call) => {
      const forced = forcedAnswer(session, call, given.tokens);
      return {
        path: '/v1/chat/completions',
        thinkMs: 0,
        body: () => ({
          model: given.model,
          messages: call.messages,
          tools: session.tools.length > 0 ? session.tools : undefined,
          stream: true,
          stream_options: { include_usage: true },
          temperature: 0,
          nvext: { forced_output: forced },
        }),
      };
    }),
  };
}
