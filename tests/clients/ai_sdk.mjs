// Vercel's AI SDK over its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [base, prompt] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "satisfice", baseURL: `${base}/v1`, apiKey: "any", includeUsage: true });
const model = provider("pocket");

const whole = await generateText({ model, prompt, seed: 1, maxOutputTokens: 4096, maxRetries: 0 });
const stream = streamText({ model, prompt, seed: 1, maxRetries: 0 });
let thinking = "", answer = "";
for await (const part of stream.fullStream) {
  if (part.type === "reasoning-delta") thinking += part.text;
  if (part.type === "text-delta") answer += part.text;
  if (part.type === "error") throw part.error;
}
const leaves = new AbortController();
try {
  for await (const part of streamText({ model, prompt, maxRetries: 0, abortSignal: leaves.signal }).fullStream) {
    if (part.type === "reasoning-delta") leaves.abort();
  }
} catch (error) {
  if (error.name !== "AbortError") throw error;
}

const usage = whole.usage;
console.log(JSON.stringify({
  thinking: whole.reasoningText, answer: whole.text, streamed: [thinking, answer],
  reasoning_tokens: usage.outputTokenDetails?.reasoningTokens ?? usage.reasoningTokens,
}));
