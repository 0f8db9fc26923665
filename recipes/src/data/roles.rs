//! What columns are to a problem, and the names that they have in public data sets.

/// What a column is to a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Problem,
    Answer,
    Solution,
    Id,
    Source,
}

impl Role {
    pub(super) const ALL: [Self; 5] =
        [Self::Problem, Self::Answer, Self::Solution, Self::Id, Self::Source];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Answer => "answer",
            Self::Solution => "solution",
            Self::Id => "id",
            Self::Source => "source",
        }
    }

    /// The names that are tried where the recipe sets none, in any case of letters. The first is
    /// ours: where a row has it, the others are not tried.
    pub(super) fn known(self) -> &'static [&'static str] {
        match self {
            Self::Problem => &["problem", "question", "prompt", "query", "instruction"],
            Self::Answer => &[
                "answer",
                "reward_model.ground_truth",
                "ground_truth",
                "final_answer",
                "expected_answer",
            ],
            Self::Solution => &["solution", "completion", "response", "output"],
            Self::Id => &["id"],
            Self::Source => &["source", "data_source"],
        }
    }
}

/// Columns that hold whole chats.
pub(super) const CHATS: [&str; 3] = ["messages", "conversations", "conversation"];
