use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which tokens are raised and lowered: one of the paper's operations by name, or any table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "StareOperation")]
pub enum Operation {
    /// One of the paper's.
    Named(NamedOperation),
    /// Any.
    Table(Table),
}

/// The operations whose names the sources agree on (arXiv 2606.19236, section 4.2 and table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "StareOperationName")]
pub enum NamedOperation {
    /// Raises the high side of advantages above 0.
    O1,
    /// O1, and lowers the high side of advantages below 0.
    C2,
    /// Lowers the high side of advantages below 0.
    O4,
    /// O1, and raises the low side of advantages below 0.
    C1,
}

/// What is done to each side of each advantage sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "StareSides")]
pub struct Table {
    /// Advantage above 0, high surprisal: L+.
    pub positive_high: Action,
    /// Advantage above 0, low surprisal: U+.
    pub positive_low: Action,
    /// Advantage below 0, high surprisal: L-.
    pub negative_high: Action,
    /// Advantage below 0, low surprisal: U-.
    pub negative_low: Action,
}

/// What is done to a token while the gate is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "StareAction")]
pub enum Action {
    /// Its weight is W.
    Amplify,
    /// Its weight is M.
    Attenuate,
    /// Its weight is 1.
    #[default]
    Keep,
}

impl Operation {
    /// What it does to each side.
    pub fn table(self) -> Table {
        match self {
            Self::Named(name) => name.table(),
            Self::Table(table) => table,
        }
    }
}

impl NamedOperation {
    /// What it does to each side.
    pub fn table(self) -> Table {
        let o1 = Table { positive_high: Action::Amplify, ..Table::default() };
        match self {
            Self::O1 => o1,
            Self::C2 => Table { negative_high: Action::Attenuate, ..o1 },
            Self::O4 => Table { negative_high: Action::Attenuate, ..Table::default() },
            Self::C1 => Table { negative_low: Action::Amplify, ..o1 },
        }
    }
}

impl Table {
    /// Whether any side has this action.
    pub(super) fn has(self, action: Action) -> bool {
        [self.positive_high, self.positive_low, self.negative_high, self.negative_low]
            .contains(&action)
    }
}

settings::by_shape! { Operation:
    "the name of an operation, or a table of what is done to each side";
    text => Operation::Named,
    table => Operation::Table,
}
