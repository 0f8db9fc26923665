//! Streamed weights as the source of a policy.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use candle::{DType, Device, Tensor};

use super::{State, Streamed};
use crate::stream::Arena;
use crate::stream::units::gather;
use crate::weights::{BlockWeights, Value, Version, WeightSource};
use crate::{Error, Result};
use kernels::logits::CHUNK;

impl WeightSource for Streamed {
    fn version(&self) -> Version {
        Version::of(self.version.load(Ordering::Acquire))
    }

    fn embed(&self) -> Result<Value> {
        match &self.resident.ends {
            Some((embed, _)) => Ok(embed.clone()),
            None => Err(Error::Input("a streamed embedding is asked for by rows".into())),
        }
    }

    fn block(&self, layer: usize) -> Result<Cow<'_, BlockWeights<Value>>> {
        let mut state = self.pass()?;
        self.take(&mut state, layer)?;
        let slot = state.ring.current().expect("it was just taken");
        let mut values = state.ring.shared.units[layer].values(slot)?.into_iter();
        let block = self.master.specs.blocks[layer].as_ref();
        let block = block.map(|_| values.next().expect("one value for each parameter"));
        Ok(Cow::Owned(block))
    }

    fn norm(&self) -> Result<Tensor> {
        // The last block is done with.
        self.pass()?.ring.let_go()?;
        Ok(self.resident.norm.clone())
    }

    fn head(&self) -> Result<Value> {
        match &self.resident.ends {
            Some((embed, head)) => Ok(head.as_ref().unwrap_or(embed).clone()),
            None => Err(Error::Input("a streamed head is asked for by rows".into())),
        }
    }

    fn streams(&self) -> bool {
        true
    }

    fn arena(&self) -> Option<&Arena> {
        Some(&self.arena)
    }

    fn end_pass(&self) -> Result<()> {
        self.shared.check()
    }

    fn embed_rows(&self, tokens: &[u32], dtype: DType, device: &Device) -> Result<Tensor> {
        // This is what a pass begins with.
        let mut state = self.state()?;
        state.pass = Some(thread::current().id());
        match &self.resident.ends {
            Some((embed, _)) => embed.gather(tokens, dtype, device),
            None => self.streamed_rows(&mut state, tokens),
        }
    }

    fn head_rows(&self, rows: Range<usize>) -> Result<Value> {
        if let Some((embed, head)) = &self.resident.ends {
            let head = head.as_ref().unwrap_or(embed);
            return Ok(head.rows(rows, DType::F32, &Device::Cpu)?.detach().into());
        }
        let unit = self.counts().0 + rows.start / CHUNK;
        let mut state = self.pass()?;
        self.take(&mut state, unit)?;
        let slot = state.ring.current().expect("it was just taken");
        let unit = &state.ring.shared.units[unit];
        if unit.rows() != rows {
            return Err(Error::Input(format!(
                "rows {rows:?} of a streamed head: expected the chunk {:?}",
                unit.rows()
            )));
        }
        Ok(unit.values(slot)?.remove(0))
    }
}

impl Streamed {
    /// Rows of an embedding that is streamed. Each is read once.
    fn streamed_rows(&self, state: &mut State, tokens: &[u32]) -> Result<Tensor> {
        let width = self.master.config.hidden_size;
        state.ring.let_go()?;
        let first = self.embed_units().start;
        for unit in self.embed_units() {
            state.ring.wait_written(unit)?;
        }
        let mut distinct = tokens.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let (began, mut rows) = (Instant::now(), vec![0.0; distinct.len() * width]);
        let bytes = gather(&self.master.table.embed, &mut state.handle, &distinct, &mut rows)?;
        self.shared.link.up(bytes, began.elapsed());
        self.shared.counters.rows.add_many(distinct.len(), bytes, began.elapsed());
        if let (Some(index), Some(update)) = (self.trainable.embed, &state.update) {
            let is_behind =
                |token: u32| state.applied[first + token as usize / CHUNK] < state.updates;
            let mut rest = rows.as_mut_slice();
            for tokens in distinct.chunk_by(|a, b| is_behind(*a) == is_behind(*b)) {
                let (own, later) = rest.split_at_mut(tokens.len() * width);
                if is_behind(tokens[0]) {
                    let from = own.to_vec();
                    update.apply_rows(index, tokens, &from, own);
                }
                rest = later;
            }
        }
        let distinct_rows = Tensor::from_vec(rows, (distinct.len(), width), &Device::Cpu)?;
        if distinct == tokens {
            return Ok(distinct_rows);
        }
        let place = |token: &u32| distinct.partition_point(|own| own < token) as u32;
        let places: Vec<u32> = tokens.iter().map(place).collect();
        Ok(distinct_rows.index_select(&Tensor::new(places, &Device::Cpu)?, 0)?)
    }

    /// The units that hold a streamed embedding.
    fn embed_units(&self) -> Range<usize> {
        let (blocks, chunks) = self.counts();
        let first = if self.master.table.head.is_none() { blocks } else { blocks + chunks };
        first..first + chunks
    }
}
