"""What the machine can do at most: gigabytes a second read from memory, and f32 operations a second in a product."""

import argparse

import torch

from peer import say, seconds

GIBIBYTE = 1 << 30
# Large enough for the full rate, small enough to be quick.
SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", required=True, choices=["read", "product"])
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--reps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "read":
        numbers = torch.ones(GIBIBYTE // 4)
        say(seconds=seconds(lambda: numbers.sum().item(), 3 * options.reps), bytes=GIBIBYTE)
    else:
        left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
        say(seconds=seconds(lambda: left @ right, 3 * options.reps), operations=2 * SIDE**3)


if __name__ == "__main__":
    main()
