/**
 * A model that cannot be found, fetched or used; the message is one sentence: cause and mend. What it
 * quotes may come from a damaged file, so nothing in it can steer a terminal.
 */
export class ModelError extends Error {
  override name = 'ModelError';

  constructor(sentence: string, options?: ErrorOptions) {
    super(sentence.replace(/\p{C}/gu, '?'), options);
  }
}
