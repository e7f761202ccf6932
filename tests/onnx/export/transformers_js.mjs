// Answers with transformers.js what a test asks: node transformers_js.mjs NODE_MODULES < request > answers, both JSON.
// Request: { folder, prompts: [{ messages, images: [paths] }], max_new_tokens }.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const library = join(process.argv[2], '@huggingface/transformers/dist/transformers.node.mjs');
const { AutoConfig, AutoModelForImageTextToText, AutoProcessor, RawImage, env } = await import(pathToFileURL(library));
env.allowRemoteModels = false;

const { folder, prompts, max_new_tokens } = JSON.parse(readFileSync(0, 'utf8'));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder, {
    config: await AutoConfig.from_pretrained(join(folder, 'transformers.js')),
    session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 },
});

async function prepare(prompt, paths) {
    if (paths.length === 0) return processor.tokenizer(prompt);
    const images = await Promise.all(paths.map((path) => RawImage.read(path)));
    if (images.length === 1) return await processor(images, prompt);
    // LlavaProcessor makes room for the first image of a prompt only.
    const { image_token, num_image_tokens } = processor.config;
    return {
        ...processor.tokenizer(prompt.replaceAll(image_token, image_token.repeat(num_image_tokens))),
        ...(await processor.image_processor(images)),
    };
}

const answers = [];
for (const { messages, images } of prompts) {
    const inputs = await prepare(processor.apply_chat_template(messages, { add_generation_prompt: true }), images);
    const tokens = await model.generate({ ...inputs, max_new_tokens, do_sample: false });
    const new_tokens = tokens.slice(null, [inputs.input_ids.dims[1], null]);
    answers.push({
        input_ids: inputs.input_ids.tolist()[0].map(Number),
        pixel_values: inputs.pixel_values?.tolist() ?? null,
        new_tokens: new_tokens.tolist()[0].map(Number),
        answer: processor.batch_decode(new_tokens, { skip_special_tokens: true })[0],
    });
}
console.log(JSON.stringify(answers));
