//! What the record says of each token in bits.

use evals::run::flag;
use rewards::TokenColumns;
use rewards::dynamics::surprising;

use crate::train::table::{Credit, Part};

impl Credit {
    /// Sets the flags of all tokens of the step, where those of `kept` are in the loss; `share` is
    /// that of the tokens of high surprisal.
    pub(super) fn flag(&mut self, kept: &Part<'_>, columns: &TokenColumns<'_>, share: f64) {
        let table = kept.table;
        self.flags = vec![flag::GENERATED; table.num_learnt];
        for (sample, _) in table.samples.iter().zip(&self.filtered).filter(|(_, out)| **out) {
            self.flags[sample.entries.clone()].iter_mut().for_each(|own| *own |= flag::LEFT_OUT);
        }
        let weights = kept.column(&self.weights);
        let penalties = self.penalties.as_ref().map(|column| kept.column(column));
        let surprising = surprising(columns, share);
        let mut flags = vec![flag::GENERATED; columns.len()];
        for (token, own) in flags.iter_mut().enumerate() {
            let is_penalised = penalties.as_ref().is_some_and(|column| column[token] != 0.0);
            if weights[token].to_bits() != 1.0_f64.to_bits() || is_penalised {
                *own |= flag::SELECTED;
            }
            if surprising[token] {
                *own |= flag::SURPRISING;
            }
        }
        kept.scatter(&flags, &mut self.flags);
        for (own, _) in self.flags.iter_mut().zip(&self.outside).filter(|(_, outside)| **outside) {
            *own |= flag::OUT_OF_BOUNDS;
        }
        self.thresholds = [1.0, -1.0].map(|sign| {
            let of_sign =
                (0..columns.len()).filter(|&token| columns.advantages[token] * sign > 0.0);
            let found = of_sign.filter(|&token| surprising[token]);
            found.map(|token| f64::from(columns.surprisals[token])).reduce(f64::min)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::table::Table;

    #[test]
    fn flags_are_of_the_tokens_of_the_step_and_say_what_is_left_out() {
        let mut table = Table::default();
        table.push_prompt(vec![9]);
        for tokens in [&[1, 2][..], &[3], &[4, 5]] {
            table.push_completion(tokens);
        }
        let mut credit = Credit::even(&table, 1.0);
        credit.filtered = vec![false, true, false];
        credit.weights = vec![1.0, 1.1, 0.0, 1.0, 1.0];
        credit.penalties = Some(vec![0.0, 0.0, 0.0, 1.0, 0.0]);
        credit.outside = vec![false, false, false, false, true];
        let kept = table.part(vec![0, 2]);
        let columns = TokenColumns {
            surprisals: &[0.5, 2.0, 3.0, 0.1],
            entropies: &[0.0; 4],
            phi_sums: &[0.0; 4],
            advantages: &[1.0, 1.0, -1.0, -1.0],
            samples: &[0..2, 2..4],
            seed: 0,
        };
        credit.flag(&kept, &columns, 0.5);
        let (own, both) = (flag::GENERATED, flag::SELECTED | flag::SURPRISING);
        let last = own | flag::OUT_OF_BOUNDS;
        assert_eq!(credit.flags, [own, own | both, own | flag::LEFT_OUT, own | both, last]);
        assert_eq!(credit.thresholds, [Some(2.0), Some(3.0)]);
    }
}
