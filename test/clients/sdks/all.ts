import { aiAnthropic, aiChat, aiCompatible, aiResponses } from './ai-sdk.ts';
import { anthropic } from './anthropic.ts';
import { langchainChat, langchainResponses } from './langchain.ts';
import { openaiChat, openaiResponses, openaiStored } from './openai.ts';
import { agentsChat, agentsResponses } from './openai-agents.ts';
import type { SdkClient } from './sdk-client.ts';

export const SDKS: readonly SdkClient[] = [
  openaiChat,
  openaiResponses,
  openaiStored,
  anthropic,
  agentsChat,
  agentsResponses,
  aiCompatible,
  aiChat,
  aiResponses,
  aiAnthropic,
  langchainChat,
  langchainResponses,
];
