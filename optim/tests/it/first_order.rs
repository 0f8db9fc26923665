//! What an optimizer is besides its rule, with the simplest one: plain descent.

use std::collections::BTreeMap;

use candle::{DType, Tensor};
use optim::{FirstOrder, Optimizer, Param, Result, Rule, SavedState, Step};

use crate::objectives::{parabola, param, values};

#[derive(Debug)]
struct Descent {
    max_grad_norm: f64,
}

impl Rule for Descent {
    const NAME: &str = "descent";

    fn max_grad_norm(&self) -> f64 {
        self.max_grad_norm
    }

    fn apply(&mut self, _: usize, param: &Param, step: Step<'_>) -> Result<()> {
        let moved = (step.gradient * (step.lr * step.clip_scale))?;
        Ok(param.var.set(&(param.var.as_detached_tensor() - moved)?)?)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    fn restore(&mut self, _: &dyn SavedState) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_rule_of_two_lines_is_an_optimizer() {
    let params = [param("a", &[0.0, 7.0], DType::F64), param("b", &[-2.0], DType::F64)];
    let rule = Descent { max_grad_norm: 0.0 };
    let mut optimizer = FirstOrder::with_rule(rule, &params).unwrap();
    for _ in 0..200 {
        optimizer.step(&params, &mut parabola(&params), 0.1).unwrap();
    }
    for value in params.iter().flat_map(|param| values(&param.var)) {
        assert!((value - 3.0).abs() < 1e-6, "{value}");
    }
    let state: BTreeMap<_, _> = optimizer.state().unwrap().into_iter().collect();
    assert_eq!(state["descent.updates"].to_vec1::<i64>().unwrap(), [200]);
    optimizer.restore(&state).unwrap();
    let adamw = BTreeMap::from([("adamw.updates".to_owned(), state["descent.updates"].clone())]);
    let error = optimizer.restore(&adamw).unwrap_err().to_string();
    assert!(error.contains("descent.updates is missing"), "{error}");
}

#[test]
fn a_clipped_step_has_the_length_that_is_asked_for() {
    let params = [param("a", &[0.0, 7.0], DType::F64), param("b", &[-2.0], DType::F64)];
    let rule = Descent { max_grad_norm: 0.5 };
    let mut optimizer = FirstOrder::with_rule(rule, &params).unwrap();
    let report = optimizer.step(&params, &mut parabola(&params), 1.0).unwrap();
    assert!(report.grad_norm > 1.0);
    let moved = params.iter().flat_map(|param| values(&param.var)).zip([0.0, 7.0, -2.0]);
    let length = moved.map(|(now, then)| (now - then) * (now - then)).sum::<f64>().sqrt();
    assert!((length - 0.5).abs() < 1e-6, "{length}");
}
