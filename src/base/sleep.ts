/** A clock, as far as waiting needs one. */
interface Timer {
  after(us: number, run: () => void): () => void;
}

/** Resolves after `us`, or at once when the signal aborts. */
export function sleep(timer: Timer, us: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = timer.after(us, done);
    signal.addEventListener('abort', done);
  });
}
