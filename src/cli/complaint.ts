/** What went wrong, as one sentence for the person at the terminal; no stack is shown. */
export class Complaint extends Error {
  override name = 'Complaint';
  /** 1: it ran and the answer is bad. 2: it was used wrongly. */
  readonly exitCode: 1 | 2;

  constructor(sentence: string, exitCode: 1 | 2 = 1) {
    super(sentence);
    this.exitCode = exitCode;
  }
}
