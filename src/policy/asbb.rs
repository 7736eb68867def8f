//! The site's budget service (ASBB): what it is asked before a launch and told after the end, and what its answers mean.
//!
//! `POST /api/v1/budget/check` and `/api/v1/budget/reconcile` of the advisor's budget bank; errors are
//! `{"error":{"code","message"}}`, 402 is a budget that is used up, 501 a service without this call.

use crate::{config::Pool, life::Life};
use burst_plan::{Geometry, MicroUsd, Seconds};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// `[budget_service]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `url`, without a slash at its end: `http://budget:8080`.
    pub url: String,
    /// `timeout` of one call, default 5s.
    pub timeout: Seconds,
    /// `on_error`, default hold: what becomes of a launch when the service gives no usable answer.
    pub on_error: OnError,
    /// `on_refusal`, default hold: what becomes of a job that the service refuses.
    pub on_refusal: OnRefusal,
}

/// What becomes of a launch when nobody says yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It is launched without the service's word.
    Allow,
    /// It waits until the service answers.
    Hold,
}

/// What becomes of a job that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefusal {
    /// It stays held and the service is asked again later.
    Hold,
    /// It stays held until an operator or its owner acts.
    Fail,
}

/// A gang's size as the service is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Nodes.
    pub nodes: u32,
    /// CPUs of all nodes: whole nodes are paid for.
    pub cpus: u32,
    /// GPUs of all nodes.
    pub gpus: u32,
    /// MiB of one node.
    pub memory_mib: u64,
    /// Time limit, seconds.
    pub wall_s: u64,
}

impl Shape {
    /// The shape of so many nodes of a block, for a job with this time limit; None where the limit is not known.
    #[must_use]
    pub fn of(nodes: u32, block: usize, pool: &Pool, geometry: &Geometry) -> Option<Self> {
        let block = pool.blocks.get(block)?;
        Some(Self {
            nodes,
            cpus: nodes.saturating_mul(block.cpus),
            gpus: nodes.saturating_mul(block.gpus),
            memory_mib: block.memory_mib,
            wall_s: geometry.time_limit?.0,
        })
    }

    fn within(&self, other: &Self) -> bool {
        self.nodes <= other.nodes
            && self.cpus <= other.cpus
            && self.gpus <= other.gpus
            && self.wall_s <= other.wall_s
    }
}

/// The service's word for a launch, kept with the gang until it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// `transaction_id`; empty: the service gave none, or the launch was allowed without its word.
    pub transaction: String,
    /// What it was given for.
    pub shape: Shape,
    /// When, Unix ms.
    pub at_ms: u64,
}

/// How long a launch that was allowed without the service's word may take to begin, ms; after that it is asked again.
const WAIVED_MS: u64 = 60_000;
/// Promises kept of one gang: one for each shape of its ladder, and more would be a fault.
pub const MOST_PROMISES: usize = 16;

/// Whether one of the promises is for a gang of this shape.
#[must_use]
pub fn covers(promises: &[Promise], shape: &Shape, now_ms: u64) -> bool {
    let good = |p: &Promise| !p.transaction.is_empty() || now_ms < p.at_ms.saturating_add(WAIVED_MS);
    promises.iter().any(|p| good(p) && shape.within(&p.shape))
}

/// Body of `/api/v1/budget/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Slurm account.
    pub account: String,
    /// Partition.
    pub partition: String,
    /// Nodes.
    pub nodes: u32,
    /// CPUs of all nodes.
    pub cpus: u32,
    /// GPUs of all nodes.
    pub gpus: u32,
    /// Memory of one node as Slurm writes it (`749568M`).
    pub memory: String,
    /// `HH:MM:SS`; hours may pass 99.
    pub wall_time: String,
    /// Owner.
    pub user_id: String,
}

impl Check {
    /// The question about a shape.
    #[must_use]
    pub fn new(geometry: &Geometry, user: &str, shape: &Shape) -> Self {
        let s = shape.wall_s;
        Self {
            account: geometry.account.clone(),
            partition: geometry.partition.clone(),
            nodes: shape.nodes,
            cpus: shape.cpus,
            gpus: shape.gpus,
            memory: format!("{}M", shape.memory_mib),
            wall_time: format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
            user_id: user.to_owned(),
        }
    }
}

/// What the service says to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The launch is in the budget.
    Yes {
        /// `transaction_id`, empty for none.
        transaction: String,
        /// What it says, in words.
        says: String,
    },
    /// It is not: the service's message.
    No(String),
    /// Neither: no answer, no such service, not supported, an error; why.
    Unclear(String),
}

/// Longest text of the service's that is shown, characters.
const SHOWN: usize = 300;

/// `CODE: message` of an error, else the beginning of the body.
fn error_text(status: u16, body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let error = json.get("error");
    let part = |key: &str| error.and_then(|e| e.get(key)).and_then(Value::as_str).unwrap_or("");
    let plain = error.and_then(Value::as_str).unwrap_or("");
    let text = match (part("code"), part("message")) {
        ("", "") if !plain.is_empty() => plain.to_owned(),
        ("", "") => format!("HTTP {status} {}", body.trim()).trim_end().to_owned(),
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    burst_plan::clean(&text, SHOWN)
}

/// The meaning of an answer to a check.
#[must_use]
pub fn read_check(status: u16, body: &str) -> Word {
    match status {
        200 => {}
        402 => return Word::No(error_text(status, body)),
        404 => {
            let text = error_text(status, body);
            return Word::Unclear(format!("it knows no such account, or has no budget/check here ({text})"));
        }
        501 => return Word::Unclear(format!("it does not support this ({})", error_text(status, body))),
        _ => return Word::Unclear(error_text(status, body)),
    }
    let Ok(json) = serde_json::from_str::<Value>(body) else {
        return Word::Unclear("its answer is not JSON".into());
    };
    let text = |key: &str| burst_plan::clean(json.get(key).and_then(Value::as_str).unwrap_or(""), SHOWN);
    let remaining = json.get("budget_remaining").and_then(Value::as_f64);
    let remaining = remaining.map(|r| format!("{r:.2} USD remain")).unwrap_or_default();
    let says: Vec<String> = [text("message"), remaining].into_iter().filter(|t| !t.is_empty()).collect();
    let says = says.join("; ");
    match json.get("available").and_then(Value::as_bool) {
        Some(true) => Word::Yes { transaction: text("transaction_id"), says },
        Some(false) if says.is_empty() => Word::No("not enough budget".into()),
        Some(false) => Word::No(says),
        None => Word::Unclear("its answer has no `available`".into()),
    }
}

/// What an answer (or none) means for the launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Launch; a note for the gang's history.
    Go {
        /// To be settled after the end; empty for none.
        transaction: String,
        /// In words.
        note: String,
    },
    /// Ask again later; why.
    Wait(String),
    /// Held for good; why.
    Stop(String),
}

/// The site's policy applied to the service's word.
#[must_use]
pub fn decide(word: Word, service: &Service) -> Decision {
    match (word, service.on_refusal, service.on_error) {
        (Word::Yes { transaction, says }, ..) => {
            let says = if says.is_empty() { String::new() } else { format!(": {says}") };
            Decision::Go { transaction, note: format!("the budget service agrees{says}") }
        }
        (Word::No(why), OnRefusal::Hold, _) => Decision::Wait(format!("the budget service refuses: {why}")),
        (Word::No(why), OnRefusal::Fail, _) => Decision::Stop(format!("the budget service refuses: {why}")),
        (Word::Unclear(why), _, OnError::Allow) => Decision::Go {
            transaction: String::new(),
            note: format!("launched without the budget service's word, as configured: {why}"),
        },
        (Word::Unclear(why), _, OnError::Hold) => {
            Decision::Wait(format!("waiting for the budget service: {why}"))
        }
    }
}

/// Body of `/api/v1/budget/reconcile`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconcile {
    /// Job as Slurm writes it.
    pub job_id: String,
    /// USD.
    pub actual_cost: f64,
    /// Of the check.
    pub transaction_id: String,
    /// A JSON object as text.
    pub job_metadata: String,
}

/// USD for JSON: cost never passes what a double holds exactly in micro-dollars.
fn usd(amount: MicroUsd) -> f64 {
    amount.to_string().parse().unwrap_or(0.0)
}

/// What the service is told when a life is over: its cost for the last promise, nothing for those that other shapes of the
/// ladder had been given. Where a part of the cost is not known the known part is told, and the metadata say so; a life
/// that left no trace has cost nothing.
#[must_use]
pub fn reconcile(job: &str, promises: &[Promise], life: Option<&Life>) -> Vec<Reconcile> {
    let real: Vec<&Promise> = promises.iter().filter(|p| !p.transaction.is_empty()).collect();
    let last = real.len().saturating_sub(1);
    let told = real.iter().enumerate().map(|(i, p)| {
        let used = life.filter(|_| i == last);
        Reconcile {
            job_id: job.to_owned(),
            actual_cost: used.map_or(0.0, |l| usd(l.cost.total.unwrap_or(l.cost.known))),
            transaction_id: p.transaction.clone(),
            job_metadata: used.map_or_else(|| "{}".to_owned(), metadata),
        }
    });
    told.collect()
}

fn metadata(l: &Life) -> String {
    let mut types: Vec<&str> = l.instances.iter().map(|i| i.instance_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    serde_json::json!({
        "user_id": l.user, "account": l.account, "partition": l.partition, "pool": l.pool, "restart": l.restart,
        "state": l.slurm.state, "start": l.slurm.start, "end": l.slurm.end, "instance_types": types,
        "instances": l.instances.len(), "cost_complete": l.cost.total.is_some(), "prices": l.cost.prices,
    })
    .to_string()
}

/// What becomes of a reconcile after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Taken.
    Yes,
    /// It never will be: why.
    Never(String),
    /// To be told again: why.
    Again(String),
}

/// The meaning of an answer to a reconcile: what the service does not want, or does not know, is not told for ever.
#[must_use]
pub fn read_reconcile(status: u16, body: &str) -> Settled {
    match status {
        200..=299 => Settled::Yes,
        // Time-out of the request, too many requests: of the moment.
        408 | 429 => Settled::Again(error_text(status, body)),
        400..=499 | 501 => Settled::Never(error_text(status, body)),
        _ => Settled::Again(error_text(status, body)),
    }
}
