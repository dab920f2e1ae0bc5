/** Which stay of a server it is, where nothing but its version and its absences tell one from the next. */
import { looseObject, looseText } from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { isNobodyThere } from './introduction.ts';

export class Presence {
  readonly #http: EngineHttp;
  readonly #path: string;
  #isThere = false;
  #absences = 0;

  /** `path`: where it tells its version. */
  constructor(http: EngineHttp, path: string) {
    this.#http = http;
    this.#path = path;
  }

  /** `run` differs once nobody was there; throws while nobody is. */
  async ask(): Promise<{ version: string; run: string }> {
    try {
      const version = looseText(looseObject(await this.#http.json('GET', this.#path)).version);
      this.#isThere = true;
      return { version, run: `${version} ${this.#absences}` };
    } catch (error) {
      if (this.#isThere && isNobodyThere(error)) {
        this.#isThere = false;
        this.#absences++;
      }
      throw error;
    }
  }
}
