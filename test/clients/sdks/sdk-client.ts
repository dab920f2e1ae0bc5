import type { ToolCall } from '../agents/coding-agent.ts';

/** What an agent built with an SDK is told. */
export interface SdkTask {
  /** Of the gateway, without a path. */
  url: string;
  model: string;
  /** Its system prompt. */
  instructions: string;
  prompt: string;
}

/** An agent's loop, as the SDK's documentation writes it. */
export interface SdkClient {
  /** One word. */
  id: string;
  name: string;
  /** The package whose version is told. */
  package: string;
  /** How a script calls its sub-agent, where it has one. */
  delegate?: (task: string) => ToolCall;
  /** Works until the model asks for no more tools; its last text. */
  work(task: SdkTask): Promise<string>;
}

/** More answers than any session here has: a loop that goes astray ends. */
export const ANSWERS_MAX = 20;
