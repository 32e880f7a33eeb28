// The official client for Node: whole, streamed, and one that leaves.
import OpenAI from "openai";

const [base, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "any", maxRetries: 0 });
const asked = { model: "pocket", messages: [{ role: "user", content: question }] };

const whole = await client.chat.completions.create({ ...asked, seed: 1 });
const message = whole.choices[0].message;
let thinking = "", answer = "";
for await (const chunk of await client.chat.completions.create({ ...asked, seed: 1, stream: true })) {
  thinking += chunk.choices[0]?.delta?.reasoning ?? "";
  answer += chunk.choices[0]?.delta?.content ?? "";
}
const stream = await client.chat.completions.create({ ...asked, stream: true });
for await (const chunk of stream) break;
stream.controller.abort();

console.log(JSON.stringify({
  thinking: message.reasoning, answer: message.content, streamed: [thinking, answer],
  reasoning_tokens: whole.usage.completion_tokens_details.reasoning_tokens, satisfice: whole.satisfice,
}));
