/**
 * Imports the test files named on the command line, so that all of them run in this process. No test
 * starts before all are read: a file may define what its tests use below them.
 */
import { resolve } from 'node:path';
import { before } from 'node:test';
import { pathToFileURL } from 'node:url';

let allRead = () => {};
const reading = new Promise<void>((resolve) => {
  allRead = resolve;
});
before(() => reading);
for (const file of process.argv.slice(2)) await import(pathToFileURL(resolve(file)).href);
allRead();
