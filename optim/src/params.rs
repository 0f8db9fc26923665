use candle::Var;

/// A trainable tensor with the name it has in checkpoints.
#[derive(Debug, Clone)]
pub struct Param {
    /// Unique within the list that an optimizer is given; state and errors carry it.
    pub name: String,
    /// The storage that the optimizer moves in place.
    pub var: Var,
    /// Whether weight decay applies: false for norms and biases.
    pub decay: bool,
}
