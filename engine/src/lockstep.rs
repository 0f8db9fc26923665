//! Several passes over the same weights, block by block: a block is asked for once, and serves all.
//!
//! The passes differ in what perturbs the weights ([`Perturbed`]) and in their rows. Each result
//! equals that of the pass alone to the bit. The reference backend runs them one after another.

use std::borrow::Cow;
use std::sync::Arc;

use candle::Tensor;

use crate::backend::Backend;
use crate::backend::cpu::decode::{Member as CpuMember, step_each};
use crate::backend::cpu::{prefill, trunk::Rows};
use crate::backward::{LossOutput, ScoreTensors};
use crate::cache::{Cache, Prefix, PrefixRows, Store};
use crate::score;
use crate::stream::{Load, PassTerms, Perturbed, STREAMED_ROWS};
use crate::{Error, Packed, Policy, Result, Scores, Target};

/// One of the passes that are scored together.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// What changes the weights; `None` for the weights as they are.
    pub perturbed: Option<&'a Perturbed<'a>>,
    /// Its rows.
    pub packed: &'a Packed,
    /// What is scored.
    pub targets: &'a [Target],
}

/// One of the caches that decode together.
#[derive(Debug)]
pub struct Member<'a> {
    /// What changes the weights; `None` for the weights as they are.
    pub perturbed: Option<&'a Perturbed<'a>>,
    /// Its sequences.
    pub cache: &'a mut Cache,
    /// As for [`Policy::decode`].
    pub feed: &'a [(usize, u32)],
    /// As for [`Policy::decode`].
    pub logits: &'a mut Vec<f32>,
}

impl<'a> Policy<'a> {
    /// [`Policy::score`] of each probe; of none, nothing is asked for.
    ///
    /// # Errors
    ///
    /// As [`Policy::score`], as [`Policy::with_perturbed`], and when this policy is perturbed
    /// itself.
    pub fn score_each(self, probes: &[Probe<'a>], temperature: f64) -> Result<Vec<Scores>> {
        let passes = self.pass_each(probes, temperature)?;
        Ok(passes.iter().map(score::Pass::scores).collect())
    }

    /// [`crate::forward`](crate::forward()) of each probe.
    ///
    /// # Errors
    ///
    /// As [`Self::score_each`], and when `loss` fails. A loss that is not finite is no error here.
    pub fn forward_each(
        self,
        probes: &[Probe<'a>],
        temperature: f64,
        loss: &mut dyn FnMut(usize, &ScoreTensors) -> Result<Tensor>,
    ) -> Result<Vec<LossOutput>> {
        let passes = self.pass_each(probes, temperature)?;
        let output = |(i, pass): (usize, &score::Pass)| {
            let (log_probs, entropies) = pass.columns(self.dtype())?;
            let loss = loss(i, &ScoreTensors { log_probs, entropies })?;
            let loss = loss.to_dtype(candle::DType::F64)?.to_scalar::<f64>()?;
            Ok(LossOutput { loss, scores: pass.scores() })
        };
        passes.iter().enumerate().map(output).collect()
    }

    fn pass_each(self, probes: &[Probe<'a>], temperature: f64) -> Result<Vec<score::Pass>> {
        let policies = self.each(probes.iter().map(|probe| probe.perturbed))?;
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let each = || policies.iter().copied().zip(probes);
        if self.backend() == Backend::Reference {
            return each()
                .map(|(own, probe)| own.pass(probe.packed, probe.targets, temperature, 0))
                .collect();
        }
        let _held = self.hold(|| {
            let all = probes.iter().map(|probe| probe.packed.rows()).sum();
            let each = probes.iter().map(|probe| Load::of(probe.packed, probe.targets.len()));
            let most = each.reduce(Load::and).expect("there are probes");
            PassTerms::scored(self.config(), self.precision(), all, &most)
        })?;
        let shared = self.shared_rows(probes.iter().map(|probe| probe.packed.tokens()))?;
        let begun = each().map(|(own, probe)| Rows::embed(own, probe.packed, shared.as_ref()));
        let mut begun = begun.collect::<Result<Vec<_>>>()?;
        drop(shared);
        for layer in 0..self.config().num_layers {
            let block = self.base_block(layer)?;
            for (&own, rows) in policies.iter().zip(&mut begun) {
                rows.block(own, &*own.completed(layer, Cow::Borrowed(&*block))?)?;
            }
        }
        let passes = each()
            .zip(begun)
            .map(|((own, probe), rows)| Ok((own, rows.finish(own)?, probe.targets)));
        let passes = score::forward_each(self, passes.collect::<Result<_>>()?, temperature)?;
        self.weights.end_pass()?;
        Ok(passes)
    }

    /// [`Policy::prefill_all`] of the same prompts under each perturbation. The inner results say
    /// whose logits are not finite.
    ///
    /// # Errors
    ///
    /// As [`Policy::prefill`], but for logits that are not finite, as [`Policy::with_perturbed`],
    /// and when this policy is perturbed itself.
    pub fn prefill_each(
        self,
        perturbed: &[Option<&'a Perturbed<'a>>],
        prompts: &[&[u32]],
    ) -> Result<Vec<Result<Vec<Arc<Prefix>>>>> {
        let policies = self.each(perturbed.iter().copied())?;
        if self.backend() == Backend::Reference {
            return Ok(policies.into_iter().map(|own| own.prefill_all(prompts)).collect());
        }
        if policies.is_empty() {
            return Ok(Vec::new());
        }
        let mut all: Vec<_> = policies.iter().map(|_| Ok(Vec::new())).collect();
        for together in self.prompts_of_a_pass(prompts) {
            let mut packed = Packed::default();
            for prompt in together {
                packed.push(prompt, None)?;
            }
            let shares = policies.iter().map(|own| own.hold_prefixes(together));
            let shares = shares.collect::<Result<Vec<_>>>()?;
            let load = Load { probes: policies.len(), ..Load::of(&packed, 0) };
            let _held = self.hold(|| PassTerms::prefill(self.config(), self.precision(), &load))?;
            let each = prefill::prefill_each(self, &policies, &packed)?;
            self.weights.end_pass()?;
            let each = each.into_iter().zip(shares);
            for ((all, own), (prefilled, shares)) in all.iter_mut().zip(&policies).zip(each) {
                let rows = prefilled.into_iter().map(|(x, rows)| (x, PrefixRows::Cpu(rows)));
                let prefixes = own.prefixes(together, rows.collect(), shares);
                *all = std::mem::replace(all, Ok(Vec::new())).and_then(|mut before| {
                    before.extend(prefixes?);
                    Ok(before)
                });
            }
        }
        Ok(all)
    }

    /// [`Policy::decode`] of each member; where no member adds a row, nothing is asked for. The
    /// inner results say whose logits are not finite.
    ///
    /// # Errors
    ///
    /// As [`Policy::decode`], but for logits that are not finite, as [`Policy::with_perturbed`],
    /// and when this policy is perturbed itself. Then no cache has changed.
    pub fn decode_each(self, members: &mut [Member<'a>]) -> Result<Vec<Result<()>>> {
        let policies = self.each(members.iter().map(|member| member.perturbed))?;
        for (own, member) in policies.iter().zip(members.iter()) {
            own.check_feed(member.cache, member.feed)?;
        }
        if members.iter().all(|member| member.feed.is_empty()) {
            let cleared = members.iter_mut().map(|member| {
                member.logits.clear();
                Ok(())
            });
            return Ok(cleared.collect());
        }
        if self.backend() == Backend::Reference {
            let each = policies.into_iter().zip(members);
            return Ok(each.map(|(own, m)| own.decode(m.cache, m.feed, m.logits)).collect());
        }
        let members = policies.into_iter().zip(members).map(|(policy, member)| {
            let Member { cache: Cache { store, slots, .. }, feed, logits, .. } = member;
            let Store::Cpu(buffers) = store else { unreachable!("a cache of this backend") };
            CpuMember { policy, buffers, slots, feed, logits }
        });
        step_each(self, &mut members.collect::<Vec<_>>())
    }

    /// This policy under each perturbation.
    fn each(self, perturbed: impl Iterator<Item = Option<&'a Perturbed<'a>>>) -> Result<Vec<Self>> {
        if self.perturbed().is_some() {
            return Err(Error::Input(
                "passes in lockstep need the policy as it is: name what perturbs each pass".into(),
            ));
        }
        perturbed.map(|perturbed| self.with_perturbed(perturbed)).collect()
    }

    /// Most rows of prompts that a pass computes together.
    pub(crate) fn prefill_rows(self, resident: usize) -> usize {
        if self.weights.streams() { STREAMED_ROWS } else { resident }
    }
}
