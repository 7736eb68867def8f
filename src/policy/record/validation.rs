//! Predicted against actual (docs/RECORD.md has the formula).

use crate::life::Life;
use burst_plan::MicroUsd;

/// How well the plan foretold what happened; None where one of the two is not known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Validation {
    /// Cost, 0 to 1.
    pub cost: Option<f64>,
    /// Run time, 0 to 1.
    pub runtime: Option<f64>,
    /// Mean of those that are known.
    pub overall: Option<f64>,
}

/// `max(0, 1 - |actual - predicted| / predicted)`.
#[must_use]
fn accuracy(predicted: u64, actual: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    let off = (predicted > 0).then(|| predicted.abs_diff(actual) as f64 / predicted as f64)?;
    Some((1.0 - off).max(0.0))
}

/// Compares the plan's figures with the life's. Only a job that ran to its end tells how long it takes; what a plan names
/// as a bound (`max_total_cost`) foretells nothing.
#[must_use]
pub fn validate(life: &Life) -> Validation {
    let Some(plan) = life.plan.as_ref().filter(|_| life.succeeded()) else { return Validation::default() };
    let expected = plan.expected_runtime.map(|r| r.0);
    let runtime = expected.zip(life.run_s()).and_then(|(p, a)| accuracy(p, a));
    let cost = predicted_cost(life).zip(life.cost.compute).and_then(|(p, a)| accuracy(p.0, a.0));
    let known: Vec<f64> = [cost, runtime].into_iter().flatten().collect();
    #[allow(clippy::cast_precision_loss)]
    let n = known.len() as f64;
    let overall = (!known.is_empty()).then(|| known.iter().sum::<f64>() / n);
    Validation { cost, runtime, overall }
}

/// Run time × nodes × hourly price of the plan's first type, where that type served and so its price is known.
fn predicted_cost(life: &Life) -> Option<MicroUsd> {
    let plan = life.plan.as_ref()?;
    let (kind, nodes, runtime) = (plan.types.first()?, plan.nodes?, plan.expected_runtime?);
    let hourly = life.served().find(|i| i.instance_type == *kind)?.hourly?;
    Some(hourly.hourly_for(runtime.0).times(u64::from(nodes)))
}
