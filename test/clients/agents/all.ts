import { claude } from './claude/agent.ts';
import { cline } from './cline/agent.ts';
import { codexHttp, codexSocket } from './codex/agent.ts';
import type { CodingAgent } from './coding-agent.ts';
import { opencodeChat, opencodeMessages, opencodeResponses } from './opencode/agent.ts';
import { piChat, piMessages, piResponses } from './pi/agent.ts';
import { qwenChat, qwenMessages, qwenResponses } from './qwen/agent.ts';

/** Each on the wire that it speaks best to a gateway. */
export const FAVOURITES: readonly CodingAgent[] = [
  claude,
  codexSocket,
  opencodeChat,
  piChat,
  qwenChat,
  cline,
];

export const ON_OTHER_WIRES: readonly CodingAgent[] = [
  codexHttp,
  opencodeMessages,
  opencodeResponses,
  piMessages,
  piResponses,
  qwenMessages,
  qwenResponses,
];
