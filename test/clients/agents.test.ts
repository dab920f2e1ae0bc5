/** Real coding agents, unmodified, as the README tells users to start them. */
import { FAVOURITES } from './agents/all.ts';
import { playChores } from './play-chores.ts';

playChores('coding agents', FAVOURITES);
