//! Whether this machine and this build can do their work.

use std::fmt;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle::{DType, Device, Tensor};
use engine::{Activations, Model, Packed, Parameter, Target, backward};
use evals::run::Facts;

use crate::builtin::Builtin;
use crate::causes::with_causes;
use crate::machine;
use crate::printable::counted;
use crate::run_dir::of_this_process;

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub state: CheckState,
    /// What was found.
    pub text: String,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// As it should be.
    Good,
    /// Missing, and work goes on without it.
    Absent,
    /// Broken: work would fail.
    Broken,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            CheckState::Good => "ok",
            CheckState::Absent => "--",
            CheckState::Broken => "XX",
        };
        write!(f, "{state}  {:9}  {}", self.what, self.text)
    }
}

/// Where runs go, unless told otherwise.
const RUNS: &str = "runs";
/// Largest difference, relative, of a derivative and its finite difference in 64 bits.
const DERIVATIVE: f64 = 1e-6;
/// Step of a finite difference.
const STEP: f64 = 1e-5;

/// Looks at everything; the network is tried for two seconds and may be away.
pub fn examine(threads: usize) -> Vec<Finding> {
    let facts = of_this_process(threads);
    let good = |what, text| Finding { what, state: CheckState::Good, text };
    vec![
        good("stearin", build(&facts)),
        good("processor", processor(&facts)),
        memory(),
        cuda(),
        hub(),
        writable(Path::new(RUNS)),
        gradients(),
    ]
}

fn build(facts: &Facts) -> String {
    let commit = facts.commit.get(..12).unwrap_or("unknown commit");
    format!("{} ({commit}), {}", facts.stearin, facts.rustc)
}

fn processor(facts: &Facts) -> String {
    let features = if facts.cpu_features.is_empty() {
        "portable kernels".to_owned()
    } else {
        facts.cpu_features.join(" ")
    };
    let bf16 = engine::bf16_kernel();
    let threads = counted(facts.threads, "thread");
    format!("{}, {threads}, {features}; products in bf16 by {bf16}", facts.arch)
}

fn memory() -> Finding {
    let what = "memory";
    match machine::memory() {
        Some((all, free)) => {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let text = format!("{:.1} GiB, {:.1} GiB of them free", gib(all), gib(free));
            Finding { what, state: CheckState::Good, text }
        }
        None => Finding { what, state: CheckState::Absent, text: "the system does not say".into() },
    }
}

fn cuda() -> Finding {
    let what = "cuda";
    if !cfg!(feature = "cuda") {
        let text = "not in this build; `--features cuda` puts it in".into();
        return Finding { what, state: CheckState::Absent, text };
    }
    match Device::new_cuda_with_stream(0) {
        Ok(_) => Finding { what, state: CheckState::Good, text: "the first device opens".into() },
        Err(error) => Finding { what, state: CheckState::Broken, text: error.to_string() },
    }
}

fn hub() -> Finding {
    let what = "hub";
    if !cfg!(feature = "hub") {
        let text = "not in this build: no hf:// models".into();
        return Finding { what, state: CheckState::Absent, text };
    }
    let host = "huggingface.co:443";
    let reached =
        host.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).is_some_and(
            |address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok(),
        );
    if reached {
        return Finding { what, state: CheckState::Good, text: format!("{host} answers") };
    }
    let text = format!("{host} does not answer: hf:// models only from the local cache");
    Finding { what, state: CheckState::Absent, text }
}

fn writable(folder: &Path) -> Finding {
    let what = "runs";
    let name = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existed = folder.exists();
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, "probe"))
        .and_then(|()| std::fs::remove_file(&probe));
    if !existed {
        // Leaves nothing behind; a folder that others filled meanwhile stays.
        let _ = std::fs::remove_dir(folder);
    }
    match tried {
        Ok(()) => Finding {
            what,
            state: CheckState::Good,
            text: format!("{} can be written", name.display()),
        },
        Err(error) => Finding {
            what,
            state: CheckState::Broken,
            text: format!("{}: {error}", name.display()),
        },
    }
}

fn gradients() -> Finding {
    let what = "gradients";
    match worst_derivative() {
        Ok(worst) if worst < DERIVATIVE => {
            let text = format!("forward and backward agree with finite differences to {worst:.0e}");
            Finding { what, state: CheckState::Good, text }
        }
        Ok(worst) => {
            let text =
                format!("a derivative is off by {worst:.1e}; expected below {DERIVATIVE:.0e}");
            Finding { what, state: CheckState::Broken, text }
        }
        Err(error) => Finding { what, state: CheckState::Broken, text: with_causes(&error) },
    }
}

/// Largest relative error of a derivative of a small model in 64 bits: one entry of every tensor.
fn worst_derivative() -> Result<f64> {
    let config = Builtin::find("atom")?.config();
    let model = Model::random(config, 1, DType::F64, &Device::Cpu)?;
    let probe = Probe::new(&model)?;
    let mut gradients: Vec<Vec<f64>> = vec![Vec::new(); model.parameters().len()];
    probe.loss(&mut |index, gradient| {
        gradients[index] = gradient.flatten_all()?.to_vec1()?;
        Ok(())
    })?;
    let mut worst: f64 = 0.0;
    for (parameter, gradient) in model.parameters().iter().zip(gradients) {
        let sizes = gradient.iter().map(|slope| slope.abs()).enumerate();
        let Some((at, _)) = sizes.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            bail!("{} has no gradient", parameter.name);
        };
        let slope = probe.slope(parameter, at)?;
        worst = worst.max((slope - gradient[at]).abs() / slope.abs());
    }
    Ok(worst)
}

/// A prompt with two completions, and the model that scores them.
struct Probe<'a> {
    model: &'a Model,
    packed: Packed,
    targets: Vec<Target>,
}

impl<'a> Probe<'a> {
    fn new(model: &'a Model) -> Result<Self> {
        let mut packed = Packed::default();
        let prompt = packed.push(&[3, 14, 15, 9], None)?;
        let mut targets = packed.push_completion(prompt, &[26, 53, 58])?;
        targets.extend(packed.push_completion(prompt, &[27, 18, 28, 1])?);
        Ok(Self { model, packed, targets })
    }

    /// Sum of the log-probabilities, its gradient handed to `sink`.
    fn loss(&self, sink: &mut dyn FnMut(usize, Tensor) -> engine::Result<()>) -> Result<f64> {
        let passed = backward(
            self.model,
            &self.packed,
            &self.targets,
            1.0,
            Activations::Recompute,
            &mut |columns| Ok(columns.log_probs.sum_all()?),
            sink,
        )?;
        Ok(passed.loss)
    }

    /// Slope of the loss in one entry of a parameter, by a central difference.
    fn slope(&self, parameter: &Parameter, at: usize) -> Result<f64> {
        let before = parameter.tensor.copy()?;
        let values = before.flatten_all()?.to_vec1::<f64>()?;
        let loss_at = |step: f64| -> Result<f64> {
            let mut values = values.clone();
            values[at] += step;
            self.write(parameter, &Tensor::from_vec(values, before.shape(), before.device())?)?;
            self.loss(&mut |_, _| Ok(()))
        };
        let slope = (loss_at(STEP)? - loss_at(-STEP)?) / (2.0 * STEP);
        self.write(parameter, &before)?;
        Ok(slope)
    }

    fn write(&self, parameter: &Parameter, values: &Tensor) -> Result<()> {
        self.model.update(|variables| {
            let mut named = variables.all().filter(|(own, _)| own.name == parameter.name);
            let (_, variable) = named.next().context("a parameter of the model")?;
            Ok(variable.set(values)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        assert!(worst_derivative().unwrap() < DERIVATIVE);
    }
}
