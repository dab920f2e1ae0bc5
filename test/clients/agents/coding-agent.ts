/** A coding agent as users install it: where it lies, how it is started headless, what its tools are. */

/** One call of a tool, as a script says it. */
export interface ToolCall {
  name: string;
  arguments: Record<string, unknown>;
}

/** What an agent's own tools are called and take. Paths are absolute. */
export interface Toolbox {
  run(command: string): ToolCall;
  read(path: string): ToolCall;
  write(path: string, text: string): ToolCall;
  /** Replaces the only place where `before` stands. */
  edit(path: string, before: string, after: string): ToolCall;
  /** Gives a task to a sub-agent; undefined where the agent has none. */
  delegate: ((task: string) => ToolCall) | undefined;
}

/** Where one run of an agent takes place. */
export interface Place {
  /** Of the gateway, without a path. */
  url: string;
  model: string;
  /** Its home folder, empty but for `CodingAgent.files`. */
  home: string;
  /** The folder that it works in. */
  folder: string;
}

export interface CodingAgent {
  /** One word. */
  id: string;
  /** And the wire, where it speaks several. */
  name: string;
  /** The folder of its package.json, beside this file; agents that differ in the wire share one. */
  installation: string;
  /** The package whose version is told. */
  package: string;
  /** Program and first arguments, below the folder that its packages lie in. */
  program(modules: string): string[];
  /** The other arguments: do this without asking, and end. */
  arguments(prompt: string, place: Place): string[];
  /** Besides PATH, HOME and the proxy; telemetry and updates off. */
  environment(place: Place): Record<string, string>;
  /** What stands in its home folder, by path. */
  files(place: Place): Record<string, string>;
  toolbox: Toolbox;
  /** Requests of each thread that only announce its first turn. */
  warmUps?: number;
  /** Requests beside the session (titles, …): how their prompts end, as a regular expression. */
  sideCalls: readonly { match: string; text: string }[];
}

/** The name that packages of compiled programs end in. */
export const PLATFORM = `${process.platform}-${process.arch}`;
