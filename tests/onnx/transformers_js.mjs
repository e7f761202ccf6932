// Answers with transformers.js what a test asks: node transformers_js.mjs NODE_MODULES < request > answers, both JSON.
// Request: { folder, prompts: [{ messages, images: [paths] }], max_new_tokens, pixels: bool }.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const library = pathToFileURL(join(process.argv[2], '@huggingface/transformers/dist/transformers.node.mjs'));
const { AutoConfig, AutoModelForImageTextToText, AutoProcessor, RawImage, env } = await import(library);
env.allowRemoteModels = false;

const { folder, prompts, max_new_tokens } = JSON.parse(readFileSync(0, 'utf8'));
const processor = await AutoProcessor.from_pretrained(folder);
const config = await AutoConfig.from_pretrained(join(folder, 'transformers.js'));
const model = await AutoModelForImageTextToText.from_pretrained(folder, {
    config,
    session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 },
});

const answers = [];
for (const { messages, images } of prompts) {
    const text = processor.apply_chat_template(messages, { add_generation_prompt: true });
    const inputs =
        images.length > 0
            ? await processor(await Promise.all(images.map((path) => RawImage.read(path))), text)
            : processor.tokenizer(text);
    const tokens = await model.generate({ ...inputs, max_new_tokens, do_sample: false });
    const new_tokens = tokens.slice(null, [inputs.input_ids.dims[1], null]);
    answers.push({
        prompt: text,
        input_ids: inputs.input_ids.tolist()[0].map(Number),
        new_tokens: new_tokens.tolist()[0].map(Number),
        answer: processor.batch_decode(new_tokens, { skip_special_tokens: true })[0],
        pixel_values: inputs.pixel_values && Array.from(inputs.pixel_values.data),
    });
}
console.log(JSON.stringify(answers));
