//! Prefill and decoding.

use std::sync::Arc;

use candle::{D, DType, Tensor};

use super::block::{Qkv, finish, project};
use super::ops;
use crate::cache::{PrefixRows, Slot};
use crate::decode::not_finite;
use crate::policy::Head;
use crate::{Packed, Policy, Result};

/// A prompt through the model: logits after its last row, and its keys (kv heads, head width, rows)
/// and values (kv heads, rows, head width) of every layer.
pub(crate) fn prefill(policy: Policy<'_>, packed: &Packed) -> Result<(Vec<f32>, Vec<[Tensor; 2]>)> {
    let (config, layout) = (policy.config(), policy.layout(packed)?);
    let mut x = policy.embed_rows(None, packed.tokens())?;
    let mut layers = Vec::with_capacity(config.num_layers);
    for layer in 0..config.num_layers {
        let weights = policy.detached_block(layer)?;
        let Qkv { q, k, v } = project(config, &weights, &x, &layout.cos, &layout.sin)?;
        let mut attention = ops::attention(&q, &k, &v, &layout.spans)?;
        if layer + 1 == config.num_layers {
            // Of the last block only the last row is asked for.
            x = x.narrow(0, packed.rows() - 1, 1)?;
            attention = attention.narrow(0, packed.rows() - 1, 1)?.contiguous()?;
        }
        x = finish(config, &weights, &x, &attention)?;
        layers.push([k.permute((1, 2, 0))?.contiguous()?, v.transpose(0, 1)?.contiguous()?]);
    }
    let x = x.narrow(0, x.dim(0)? - 1, 1)?;
    let x = ops::rms_norm(&x, &policy.norm()?.detach(), config.rms_norm_eps)?;
    Ok((head(&x, &policy.head()?)?, layers))
}

/// Logits (rows, vocabulary) of normed rows, as plain numbers.
fn head(x: &Tensor, head: &Head<'_>) -> Result<Vec<f32>> {
    let logits = ops::logits(x, &head.rows(0..head.shape()[0])?)?;
    Ok(logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// One step. The caller moves the slots on.
pub(crate) fn step(
    policy: Policy<'_>,
    layers: &[[Tensor; 2]],
    capacity: usize,
    slots: &[Slot],
    feed: &[(usize, u32)],
    logits: &mut Vec<f32>,
) -> Result<()> {
    let (config, device) = (policy.config(), policy.device());
    let tokens: Vec<u32> = feed.iter().map(|&(_, token)| token).collect();
    let positions: Vec<u32> = feed.iter().map(|&(s, _)| slots[s].position() as u32).collect();
    let target: Vec<u32> =
        feed.iter().map(|&(s, _)| (s * capacity + slots[s].len) as u32).collect();
    let width = config.num_kv_heads * config.head_dim;
    let rows = feed.len();
    let target = Tensor::new(target, device)?.reshape((rows, 1))?.broadcast_as((rows, width))?;
    let target = target.contiguous()?;
    let (cos, sin) = policy.rope().tables(&positions, policy.dtype(), device)?;
    let siblings = siblings(policy, capacity, slots, feed)?;
    let order = order(policy, &siblings)?;
    let mut x = policy.embed_rows(None, &tokens)?;
    for (layer, store) in layers.iter().enumerate() {
        let weights = policy.detached_block(layer)?;
        let Qkv { q, k, v } = project(config, &weights, &x, &cos, &sin)?;
        for (store, new) in store.iter().zip([k, v]) {
            store.scatter_set(&target, &new.reshape((rows, width))?.contiguous()?, 0)?;
        }
        let parts = siblings.iter().map(|siblings| siblings.attend(layer, &q, store));
        let mut attention = Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?;
        if let Some(order) = &order {
            attention = attention.index_select(order, 0)?;
        }
        x = finish(config, &weights, &x, &attention)?;
    }
    let x = ops::rms_norm(&x, &policy.norm()?.detach(), config.rms_norm_eps)?;
    *logits = head(&x, &policy.head()?)?;
    let vocab = config.vocab_size;
    match logits.iter().position(|logit| !logit.is_finite()) {
        Some(at) => Err(not_finite(positions[at / vocab] as usize)),
        None => Ok(()),
    }
}

/// Rows of the feed that share a prompt.
struct Siblings<'a> {
    rows: Vec<u32>,
    prefix: &'a [[Tensor; 2]],
    /// The feed's rows: (members). None where they are all.
    index: Option<Tensor>,
    /// Rows of the store: (members * longest).
    own: Tensor,
    /// Zero where a member has a row, else minus infinity: (members, 1, 1, longest).
    mask: Tensor,
}

/// The feed by prompt, with each slot's rows including the one being added.
fn siblings<'a>(
    policy: Policy<'_>,
    capacity: usize,
    slots: &'a [Slot],
    feed: &[(usize, u32)],
) -> Result<Vec<Siblings<'a>>> {
    let prefix = |row: usize| slots[feed[row].0].prefix.as_ref().expect("checked by the caller");
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for row in 0..feed.len() {
        let known = groups.iter_mut().find(|g| Arc::ptr_eq(prefix(g[0] as usize), prefix(row)));
        match known {
            Some(group) => group.push(row as u32),
            None => groups.push(vec![row as u32]),
        }
    }
    let build = |rows: Vec<u32>| -> Result<Siblings<'a>> {
        let PrefixRows::Reference(layers) = &prefix(rows[0] as usize).rows else {
            unreachable!("a cache holds prefixes of its own form")
        };
        let members = || rows.iter().map(|&row| feed[row as usize].0);
        let longest = members().map(|slot| slots[slot].len + 1).max().unwrap_or(1);
        let own: Vec<u32> = members()
            .flat_map(|slot| {
                // Beyond a member's rows stands any row that exists: the mask hides it.
                (0..longest).map(move |i| (slot * capacity + i.min(capacity - 1)) as u32)
            })
            .collect();
        let mask: Vec<f32> = members()
            .flat_map(|slot| {
                let held = slots[slot].len + 1;
                (0..longest).map(move |i| if i < held { 0.0 } else { f32::NEG_INFINITY })
            })
            .collect();
        let device = policy.device();
        let mask = Tensor::from_vec(mask, (rows.len(), 1, 1, longest), device)?;
        let all = rows.len() == feed.len();
        Ok(Siblings {
            prefix: layers,
            index: if all { None } else { Some(Tensor::new(rows.as_slice(), device)?) },
            own: Tensor::new(own, device)?,
            mask,
            rows,
        })
    };
    groups.into_iter().map(build).collect()
}

/// Index of each feed row after grouping by prompt; `None` if the order is unchanged.
fn order(policy: Policy<'_>, siblings: &[Siblings<'_>]) -> Result<Option<Tensor>> {
    let grouped: Vec<u32> = siblings.iter().flat_map(|s| s.rows.iter().copied()).collect();
    let mut place = vec![0; grouped.len()];
    for (at, &row) in (0u32..).zip(&grouped) {
        place[row as usize] = at;
    }
    if place.is_sorted() {
        return Ok(None);
    }
    Ok(Some(Tensor::new(place, policy.device())?))
}

impl Siblings<'_> {
    /// Attention of the members to their prompt and their own rows: (members, heads * head width).
    fn attend(&self, layer: usize, q: &Tensor, [k, v]: &[Tensor; 2]) -> Result<Tensor> {
        let [prompt_k, prompt_v] = &self.prefix[layer];
        let (kv, head_dim, prompt) = prompt_k.dims3()?;
        let (_, heads, _) = q.dims3()?;
        let (members, longest, group) = (self.rows.len(), self.mask.dim(D::Minus1)?, heads / kv);
        let q = match &self.index {
            Some(index) => q.index_select(index, 0)?,
            None => q.clone(),
        };
        let q = (q / (head_dim as f64).sqrt())?.reshape((members, kv, group, head_dim))?;
        let stacked = |x: &Tensor, last: usize| -> Result<Tensor> {
            Ok(x.transpose(0, 1)?.contiguous()?.reshape((kv, members * group, last))?)
        };
        let unstacked = |x: &Tensor, last: usize| -> Result<Tensor> {
            Ok(x.reshape((kv, members, group, last))?.transpose(0, 1)?.contiguous()?)
        };
        let own = |store: &Tensor| -> Result<Tensor> {
            let rows = store.index_select(&self.own, 0)?;
            let rows = rows.reshape((members, longest, kv, head_dim))?;
            Ok(rows.transpose(1, 2)?.contiguous()?)
        };
        let before = unstacked(&stacked(&q, head_dim)?.matmul(prompt_k)?, prompt)?;
        let after = q.matmul(&own(k)?.transpose(2, 3)?.contiguous()?)?;
        let after = after.broadcast_add(&self.mask.to_dtype(after.dtype())?)?;
        let p = ops::softmax(&Tensor::cat(&[before, after], 3)?)?;
        let before = stacked(&p.narrow(3, 0, prompt)?, prompt)?.matmul(prompt_v)?;
        let before = unstacked(&before, head_dim)?;
        let after = p.narrow(3, prompt, longest)?.contiguous()?.matmul(&own(v)?)?;
        Ok((before + after)?.reshape((members, heads * head_dim))?)
    }
}
