/** What came of a policy's choices, by the hour of the kernel's clock. */
import type { Figures } from '../../model/policy-report.ts';

/** One answered request. */
export interface Answered {
  promptTokens: number;
  cachedTokens: number;
  ttftUs: number;
  regretUs: number;
}

interface Hour extends Answered {
  hour: number;
  requests: number;
  refused: number;
}

const HOUR_US = 3_600_000_000;
/** The past that is told. */
const HOURS_MAX = 24;

export class Tally {
  readonly #hours: Hour[] = [];

  count(nowUs: number, answered: Answered): void {
    const hour = this.#now(nowUs);
    hour.requests++;
    hour.promptTokens += answered.promptTokens;
    hour.cachedTokens += answered.cachedTokens;
    hour.ttftUs += answered.ttftUs;
    hour.regretUs += answered.regretUs;
  }

  refused(nowUs: number): void {
    this.#now(nowUs).refused++;
  }

  report(nowUs: number): Figures {
    const now = Math.floor(nowUs / HOUR_US);
    const hours = this.#hours.filter(({ hour }) => hour > now - HOURS_MAX);
    const sum = (of: (hour: Hour) => number) => hours.reduce((total, one) => total + of(one), 0);
    const requests = sum((one) => one.requests);
    const promptTokens = sum((one) => one.promptTokens);
    const cachedTokens = sum((one) => one.cachedTokens);
    return {
      requests,
      refused: sum((one) => one.refused),
      promptTokens,
      cachedTokens,
      computedTokens: promptTokens - cachedTokens,
      hitRatio: promptTokens === 0 ? null : cachedTokens / promptTokens,
      ttftUsMean: requests === 0 ? null : Math.round(sum((one) => one.ttftUs) / requests),
      regretUs: sum((one) => one.regretUs),
      hours: hours.map(({ hour, requests, regretUs }) => ({ ago: now - hour, requests, regretUs })),
    };
  }

  #now(nowUs: number): Hour {
    const hour = Math.floor(nowUs / HOUR_US);
    const last = this.#hours[this.#hours.length - 1];
    if (last?.hour === hour) return last;
    const none = { requests: 0, refused: 0, promptTokens: 0, cachedTokens: 0 };
    const fresh: Hour = { hour, ...none, ttftUs: 0, regretUs: 0 };
    this.#hours.push(fresh);
    if (this.#hours.length > HOURS_MAX) this.#hours.shift();
    return fresh;
  }
}
