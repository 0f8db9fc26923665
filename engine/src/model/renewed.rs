//! The version of weights that are being written.

use std::sync::atomic::Ordering;

use super::Model;
use crate::weights::Version;

/// Gives weights a new version when it is created and another one when it is dropped, which a panic
/// does too.
pub(super) struct Renewed<'a>(&'a Model);

impl<'a> Renewed<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let renewed = Self(model);
        renewed.renew();
        renewed
    }

    fn renew(&self) {
        self.0.version.store(Version::unique().weights, Ordering::Release);
        // Weights of another source with this adapter are other weights, too.
        if let Some(adapter) = &self.0.adapter {
            adapter.renew();
        }
    }
}

impl Drop for Renewed<'_> {
    fn drop(&mut self) {
        self.renew();
    }
}
