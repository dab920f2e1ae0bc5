/** What a worker writes of its steps with `--step-log`: a head, then a JSON object a line for each. */

export interface StepLogHead {
  /** The version of these lines. */
  stepLog: 1;
  model: string;
  slots: number;
  blockTokens: number;
}

export interface StepLogLine {
  promptTokens: number;
  /** Sum over prompt tokens of the tokens before each. */
  tokenContext: number;
  decodes: number;
  decodeContext: number;
  /** Tokens whose KV came from the host store. */
  fetchedTokens: number;
  /** Microseconds of `us` that were no computing. */
  moveUs: number;
  /** Microseconds from the order to the result, planning included where steps follow one another. */
  us: number;
}
