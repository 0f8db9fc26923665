use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::{budget, largest};
use super::{Scope, TokenColumns, TokenWeighting, TokenWeights, selection_statistics, some_share};

/// Weight 1 for the tokens of highest entropy, 0 for all others; all stay in the denominator of the
/// loss. Of equal entropies the lower index is taken.
///
/// Source: arXiv 2506.01939, equation 6.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopEntropy {
    /// Share of the tokens that are learnt from: those of the highest entropy. 0.2 is the paper's.
    ///
    /// Names: TRL `top_entropy_quantile`.
    pub share: f64,
    /// Which tokens are ranked together.
    pub scope: Scope,
}

impl Default for TopEntropy {
    fn default() -> Self {
        Self { share: 0.2, scope: Scope::Batch }
    }
}

impl TopEntropy {
    pub(super) fn problems(&self) -> Vec<String> {
        some_share(self.share).into_iter().collect()
    }
}

impl TokenWeighting for TopEntropy {
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        let k = budget(tokens.len(), self.share);
        let key = |token: usize| f64::from(tokens.entropies[token]);
        let mut weights = vec![0.0; tokens.len()];
        for token in largest((0..tokens.len()).collect(), k, key) {
            weights[token] = 1.0;
        }
        let statistics = selection_statistics(k, &weights);
        TokenWeights { weights, penalties: Vec::new(), statistics }
    }

    fn scope(&self) -> Scope {
        self.scope
    }
}
