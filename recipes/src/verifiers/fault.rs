//! Why a verifier gives no verdicts.

use std::fmt;

/// Why a verifier gives no verdicts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happened, and the next act.
    pub reason: String,
    /// What kind of failure it is.
    pub kind: FaultKind,
}

/// Kinds of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It cannot be reached, or is busy: what a server does that is still starting. Waiting may be
    /// enough.
    Transient,
    /// It cannot be started or reached, or refuses: something has to be repaired.
    Permanent,
    /// It was started, and its first line is wrong or did not come.
    Unready,
    /// What it replied is not of the protocol.
    Protocol,
    /// It gave no reply to an attempt.
    Failed,
    /// The run is to stop.
    Stopped,
}

impl FaultKind {
    /// What a verifier of this kind of failure does, after its name.
    pub(super) fn predicate(self) -> &'static str {
        match self {
            Self::Transient | Self::Permanent => "is unavailable",
            Self::Unready => "did not become ready",
            Self::Protocol => "broke the protocol",
            Self::Failed => "failed",
            Self::Stopped => "was not asked",
        }
    }

    /// Whether it was asked, so that asking it again by hand may show the cause.
    pub(super) fn was_asked(self) -> bool {
        matches!(self, Self::Unready | Self::Protocol | Self::Failed)
    }
}

impl Fault {
    /// It may come back by itself.
    pub(super) fn transient(reason: String) -> Self {
        Self { reason, kind: FaultKind::Transient }
    }

    /// Something has to be repaired.
    pub(super) fn permanent(reason: String) -> Self {
        Self { reason, kind: FaultKind::Permanent }
    }

    /// Its reply is not of the protocol.
    pub(super) fn protocol(reason: String) -> Self {
        Self { reason, kind: FaultKind::Protocol }
    }

    /// The run is to stop.
    pub(super) fn stopped() -> Self {
        Self { reason: "the run was stopped".into(), kind: FaultKind::Stopped }
    }

    /// Whether waiting may be enough.
    pub fn is_transient(&self) -> bool {
        self.kind == FaultKind::Transient
    }
}

impl fmt::Display for Fault {
    /// What the verifier did, as it goes after its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.predicate(), self.reason)
    }
}
