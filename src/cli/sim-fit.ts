/**
 * `stator sim --fit OUT`: a profile from a worker's step log or a gateway's receipts, or of the embedded engine on
 * this machine, which is started, played to and measured for it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Fitted, fitProfile, profileText } from '../sim/fit-profile.ts';
import { readObserved } from '../sim/observed.ts';
import type { Profile } from '../sim/profile.ts';
import { Complaint } from './complaint.ts';
import { type EngineFlags, PinnedStack } from './pinned-stack.ts';
import { ProgressLine } from './progress.ts';
import { whyUnreadable } from './unreadable.ts';

export interface FitFlags extends EngineFlags {
  fit?: string;
  from?: string;
  json?: boolean;
}

/** `otherwise` says what observations do not. Throws a `Complaint` where there is too little to fit. */
export async function simFit(flags: FitFlags, out: string, otherwise: Profile): Promise<void> {
  const { profile, error } =
    flags.from === undefined
      ? await fromEngine(flags, otherwise)
      : fromFile(flags.from, out, otherwise);
  try {
    writeFileSync(out, profileText(profile));
  } catch (cause) {
    throw new Complaint(`${out} cannot be written: ${(cause as Error).message}.`);
  }
  const text = flags.json
    ? JSON.stringify({ file: out, profile, error }, null, 2)
    : `${out}: ${profile.about}.\n${profile.source}\nError: ${profile.error}.`;
  process.stdout.write(`${text}\n`);
}

function fromFile(file: string, out: string, otherwise: Profile): Fitted {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Complaint(`${file} ${whyUnreadable(error)}.`, 2);
  }
  try {
    return fitProfile(readObserved(basename(file), text), {
      name: basename(out, '.json'),
      about: `Fitted to ${basename(file)}`,
      source: `Fitted by stator sim --fit to ${basename(file)}; what that does not tell is as in ${otherwise.name}.`,
      otherwise,
    });
  } catch (error) {
    if (error instanceof RangeError) throw new Complaint(error.message);
    throw error;
  }
}

async function fromEngine(flags: FitFlags, otherwise: Profile): Promise<Fitted> {
  const line = new ProgressLine();
  line.show('starting a worker');
  const pinned = await PinnedStack.start(flags, 1);
  try {
    return await pinned.calibrate({ workers: 1, seed: flags.seed, otherwise }, (text) =>
      line.show(text),
    );
  } catch (error) {
    throw new Complaint((error as Error).message);
  } finally {
    line.end();
    await pinned.close();
  }
}
