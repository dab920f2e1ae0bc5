import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { cacheFolder, stateFolder } from './folders.ts';

const home = '/home/someone';

test('the cache lies where the platform keeps caches, or where STATOR_CACHE says', () => {
  const cases: [NodeJS.Platform, Record<string, string>, string][] = [
    ['linux', {}, join(home, '.cache', 'stator')],
    ['linux', { XDG_CACHE_HOME: '/xdg' }, join('/xdg', 'stator')],
    ['linux', { XDG_CACHE_HOME: 'relative' }, join(home, '.cache', 'stator')],
    ['linux', { XDG_CACHE_HOME: '' }, join(home, '.cache', 'stator')],
    ['darwin', { XDG_CACHE_HOME: '/xdg' }, join(home, 'Library', 'Caches', 'stator')],
    ['win32', { LOCALAPPDATA: '/local' }, join('/local', 'stator')],
    ['win32', {}, join(home, 'AppData', 'Local', 'stator')],
    ['linux', { STATOR_CACHE: '/mine', XDG_CACHE_HOME: '/xdg' }, '/mine'],
  ];
  for (const [platform, env, expected] of cases) {
    assert.equal(cacheFolder({ env, platform, home }), expected);
  }
});

test('what cannot be made again lies where the platform keeps state, or where STATOR_STATE says', () => {
  const cases: [NodeJS.Platform, Record<string, string>, string][] = [
    ['linux', {}, join(home, '.local', 'state', 'stator')],
    ['linux', { XDG_STATE_HOME: '/xdg' }, join('/xdg', 'stator')],
    ['linux', { XDG_STATE_HOME: 'relative' }, join(home, '.local', 'state', 'stator')],
    ['darwin', {}, join(home, 'Library', 'Application Support', 'stator')],
    ['win32', { LOCALAPPDATA: '/local' }, join('/local', 'stator')],
    ['linux', { STATOR_STATE: '/mine', XDG_STATE_HOME: '/xdg' }, '/mine'],
  ];
  for (const [platform, env, expected] of cases) {
    assert.equal(stateFolder({ env, platform, home }), expected);
  }
});
