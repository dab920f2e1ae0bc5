/** One line that is written over and over: on a terminal only, nothing in a pipe. */
import { bytes as bytesText } from '../base/text.ts';

const REDRAW_MS = 100;

export class ProgressLine {
  readonly #shown = process.stderr.isTTY === true;
  #lastMs = 0;
  #written = false;

  show(text: string): void {
    const now = Date.now();
    if (!this.#shown || now - this.#lastMs < REDRAW_MS) return;
    this.#lastMs = now;
    this.#written = true;
    const width = process.stderr.columns ?? 80;
    process.stderr.write(`\r\x1b[2K${text.slice(0, width - 1)}`);
  }

  bytes(what: string, done: number, total: number | undefined): void {
    if (total === undefined) return this.show(`${what}: ${bytesText(done)}`);
    const share = done / total;
    const bar = '█'.repeat(Math.round(share * 24)).padEnd(24, '░');
    this.show(`${what} ${bar} ${(share * 100).toFixed(0)} % of ${bytesText(total)}`);
  }

  end(): void {
    if (this.#written) process.stderr.write('\r\x1b[2K');
  }
}
