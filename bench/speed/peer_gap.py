"""How far the log-probs of TRL's training are from those of its rollout, before anything has moved.

The step is that of peer_trl.py, but `generate` keeps its logits, so that it is not timed. TRL's own
metric of this, `sampling/sampling_logp_difference`, is logged with vLLM only.
"""

from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from peer import say
from peer_trl import shaped, trained


class Watch:
    """Log-probs of each completion: of the rollout by `generate`, then of training."""

    def __init__(self) -> None:
        self.rollout: dict[tuple[int, ...], torch.Tensor] = {}
        self.gaps: list[torch.Tensor] = []

    def wrap(self, trainer: GRPOTrainer) -> None:
        generate, score = trainer.model.generate, trainer._get_per_token_logps_and_entropies

        def generated(input_ids: torch.Tensor, **how: Any) -> torch.Tensor:
            made = generate(input_ids=input_ids, **how, return_dict_in_generate=True, output_logits=True)
            completions = made.sequences[:, input_ids.shape[1] :]
            # As the model gave them: before the least length masks the end token.
            logits = torch.stack(made.logits, dim=1).float()
            chosen = logits.log_softmax(-1).gather(-1, completions.unsqueeze(-1)).squeeze(-1)
            self.rollout |= {tuple(row.tolist()): scores for row, scores in zip(completions, chosen, strict=True)}
            return made.sequences

        def scored(model: Any, input_ids: torch.Tensor, mask: torch.Tensor, kept: int, **how: Any) -> Any:
            scores = score(model, input_ids, mask, kept, **how)
            for row, training in zip(input_ids[:, -kept:], scores[0].detach().float(), strict=True):
                self.gaps.append((training - self.rollout[tuple(row.tolist())]).abs())
            return scores

        trainer.model.generate, trainer._get_per_token_logps_and_entropies = generated, scored


def main() -> None:
    options = shaped(__doc__).parse_args()
    watch = Watch()
    trained(options, 1, TrainerCallback(), watch.wrap)
    gaps = torch.cat(watch.gaps)
    expected = options.prompts * options.group * options.new
    if gaps.numel() != expected:
        raise SystemExit(f"tokens: expected {expected}, got {gaps.numel()}")
    say(log_prob_gap_mean=gaps.mean().item(), log_prob_gap_max=gaps.max().item(), tokens=expected)


if __name__ == "__main__":
    main()
