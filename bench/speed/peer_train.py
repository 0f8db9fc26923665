"""The peer of our training: forward, backward and AdamW in PyTorch on the model of transformers.

In bfloat16 its weights, gradients and moments are all held in that type, which is its fastest way.
"""

import torch

from peer import arguments, load, random_tokens, say, seconds


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.model, options.dtype).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    tokens = random_tokens(model, options.sequences, options.length)

    def work() -> None:
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    say(seconds=seconds(work, options.reps), tokens=tokens.numel())


if __name__ == "__main__":
    main()
