"""The peer of our decode: `generate` of transformers with its cache, sampled, of a fixed length, prompts included."""

import torch

from peer import arguments, load, random_tokens, say, seconds


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--prompt-tokens", type=int, required=True)
    parser.add_argument("--new", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.model, options.dtype).eval()
    prompts = random_tokens(model, options.sequences, options.prompt_tokens)

    def work() -> None:
        sampled = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=options.new,
            min_new_tokens=options.new,
            do_sample=True,
            top_k=0,
            pad_token_id=0,
        )
        got = sampled.shape[1] - options.prompt_tokens
        if got != options.new:
            raise SystemExit(f"generate: expected {options.new} new tokens, got {got}")

    with torch.inference_mode():
        took = seconds(work, options.reps)
    say(seconds=took, tokens=options.sequences * options.new)


if __name__ == "__main__":
    main()
