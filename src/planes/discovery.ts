/** Somebody who knows where workers are: a name server, a file, a cluster. */
import type { WorkerConfig } from '../model/fleet-config.ts';

export interface Discovery {
  /**
   * All that are there now, told again whenever that changes, and never while it is not known: whoever
   * cannot be asked leaves the last answer as it is. One listener.
   */
  watch(on: (found: readonly Found[]) => void): void;
  close(): void;
}

/** A worker at an address, as its finder knows it. */
export interface Found {
  config: WorkerConfig;
  /** What people know it by; undefined: it gets a number. */
  name?: string | undefined;
  /** Another one at the same address is another worker; undefined: its address says it all. */
  instance?: string | undefined;
  /** It is there, and to be sent nothing new for now. */
  draining?: boolean | undefined;
}
