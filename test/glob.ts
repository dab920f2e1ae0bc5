import { readdirSync } from 'node:fs';

/** Files under the folders whose names end so, sorted; what is installed there is not ours. */
export function globSync(folders: readonly string[], end: string): string[] {
  return folders.flatMap((folder) => filesUnder(folder, end)).sort();
}

function filesUnder(folder: string, end: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path, end);
    return entry.isFile() && entry.name.endsWith(end) ? [path] : [];
  });
}
