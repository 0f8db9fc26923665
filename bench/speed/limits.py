"""What the machine keeps up for seconds: bytes read from memory, and f32 operations in a product."""

import argparse

import torch

from peer import say, seconds

GIBIBYTE = 1 << 30
# Large enough for the full rate, small enough to be quick.
SIDE = 2048
REPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", required=True, choices=["read", "product"])
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "read":
        numbers = torch.ones(GIBIBYTE // 4)
        say(seconds=seconds(lambda: numbers.sum().item(), REPS), bytes=GIBIBYTE)
    else:
        left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
        say(seconds=seconds(lambda: left @ right, REPS), operations=2 * SIDE**3)


if __name__ == "__main__":
    main()
