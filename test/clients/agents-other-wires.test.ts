/** The same agents over the other wires that they speak. */
import { ON_OTHER_WIRES } from './agents/all.ts';
import { playChores } from './play-chores.ts';

playChores('coding agents, other wires', ON_OTHER_WIRES);
