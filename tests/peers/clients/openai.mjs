// The openai package of npm: whole and streamed.
import OpenAI from 'openai';

const client = new OpenAI();
for (let number = 0; number < 3; number++) {
  const messages = [{ role: 'user', content: `node ${number} ` + 'z'.repeat(30000 * number) }];
  await client.chat.completions.create({ model: 'gpt-5', messages });
  for await (const _ of await client.chat.completions.create({ model: 'gpt-5', messages, stream: true }));
}
