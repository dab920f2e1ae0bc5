/** Recorded conversations as calls of a client: prompts as they were, answers forced to what was said. */
import type { ScriptedSession } from './drive.ts';
import { bodyOf, type Target } from './replayed.ts';
import { forcedAnswer, type Session } from './sessions.ts';

/** Where no tokenizer says how long an answer is. */
const CHARACTERS_PER_TOKEN = 4;

/** Recordings know no think time: each call follows the answer before it. */
export function scriptOf(session: Session, target: Target): ScriptedSession {
  const { tools } = session;
  return {
    id: session.id,
    startMs: 0,
    calls: session.calls.map((call, i) => {
      const { forced, tokens } = target;
      const answer = forced && tokens ? forcedAnswer(session, call, tokens) : undefined;
      const length = JSON.stringify(call.answer).length / CHARACTERS_PER_TOKEN;
      return {
        path: '/v1/chat/completions',
        waits: i === 0 ? [] : [{ on: i - 1, delayMs: 0, onDispatch: false }],
        body: () => ({
          ...bodyOf(target, Math.ceil(length)),
          messages: call.messages,
          tools: tools.length > 0 ? tools : undefined,
          ...(answer !== undefined && {
            max_tokens: undefined,
            nvext: { forced_output: answer },
          }),
        }),
      };
    }),
  };
}
