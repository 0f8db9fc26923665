//! Streamed weights as the source of a policy.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::thread;

use candle::{DType, Device, Tensor};

use super::{State, Streamed};
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
    /// Rows of an embedding that is streamed.
    fn streamed_rows(&self, state: &mut State, tokens: &[u32]) -> Result<Tensor> {
        let width = self.master.config.hidden_size;
        state.ring.let_go()?;
        let (blocks, chunks) = self.counts();
        let tied = self.master.table.head.is_none();
        let first = if tied { blocks } else { blocks + chunks };
        let unit = |token: u32| first + token as usize / CHUNK;
        for unit in first..first + chunks {
            state.ring.shared.hazards.wait_written(unit);
        }
        let mut rows = vec![0.0; tokens.len() * width];
        gather(&self.master.table.embed, &mut state.handle, tokens, &mut rows)?;
        if let (Some(index), Some(update)) = (self.trainable.embed, &state.update) {
            for (&token, row) in tokens.iter().zip(rows.chunks_exact_mut(width)) {
                if state.applied[unit(token)] < state.updates {
                    update.apply_in_place(index, token as usize * width, row);
                }
            }
        }
        Ok(Tensor::from_vec(rows, (tokens.len(), width), &Device::Cpu)?)
    }
}
