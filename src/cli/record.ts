/** What the configuration's `record` asks for: a recording on disk for as long as the gateway runs. */
import type { Recordings } from '../gateway/record/recordings.ts';
import type { Config } from '../model/config.ts';
import { RecordingFile } from '../observe/recording-file.ts';
import { Complaint } from './complaint.ts';

/** Returns what ends it; throws a `Complaint` where the file is something else. */
export function recordTo(
  { file: path, text, bytesMax }: NonNullable<Config['record']>,
  recordings: Recordings,
  complain: (sentence: string) => void,
): () => Promise<void> {
  const file = recordingFile(path, { bytesMax, complain });
  const end = recordings.begin({
    text,
    beganMs: file.beganMs,
    write: (row) => file.write(row),
  });
  return () => {
    end();
    return file.close();
  };
}

export function recordingFile(
  path: string,
  given: { bytesMax: number; complain: (sentence: string) => void },
): RecordingFile {
  try {
    return new RecordingFile(path, given);
  } catch (error) {
    throw new Complaint((error as Error).message);
  }
}
