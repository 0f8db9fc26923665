use candle::Var;

/// A trainable tensor with the name it has in checkpoints.
#[derive(Debug, Clone)]
pub struct Param {
    /// Unique within an optimizer's list; used in states and errors.
    pub name: String,
    /// The storage, updated in place.
    pub var: Var,
    /// Whether weight decay applies: false for norms, biases and adapters.
    pub decay: bool,
    /// Factor of the learning rate, with which weight decay is multiplied, too.
    pub lr_scale: f64,
}
