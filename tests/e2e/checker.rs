//! The verdict on a run, from text alone: what `scontrol show` said (snapshots), slurmctld's log, and the
//! simulator's audit log. It knows nothing of the plugin's code.

mod evidence;
pub mod figures;
mod rules;
pub mod storm;

pub use evidence::{Evidence, Instance, Job, MARK, Node};

/// What a run was allowed to do.
#[derive(Debug, Clone)]
pub struct Expect {
    /// How long an instance may live on after its job ended.
    pub after_end_ms: u64,
    /// Whether the run is over: nothing may live any more.
    pub over: bool,
    /// Paid attempts of one job and restart.
    pub paid_attempts: usize,
    /// Tags that every instance must carry from birth.
    pub tags: Vec<String>,
    /// First part of the names of the pools' nodes; other nodes are none of our business.
    pub prefixes: Vec<String>,
    /// Jobs that an operator releases by force: one start of each has no gang.
    pub forced: Vec<u32>,
    /// Nodes that fail while their job runs: slurmctld may call them DOWN meanwhile, and they come back.
    pub failing: usize,
}

impl Default for Expect {
    fn default() -> Self {
        let tags = ["cluster", "pool", "gang", "job", "attempt", "intent", "user"];
        Self {
            after_end_ms: 20_000,
            over: true,
            paid_attempts: 2,
            tags: tags.iter().map(|t| format!("slurm-burst:{t}")).collect(),
            prefixes: vec!["efa7-".into(), "efa6-".into()],
            forced: Vec::new(),
            failing: 0,
        }
    }
}

impl Expect {
    /// Whether a name is one of the pools'.
    #[must_use]
    pub fn ours(&self, node: &str) -> bool {
        self.prefixes.iter().any(|p| node.starts_with(p.as_str()))
    }
}

/// Everything wrong with a run; empty when it was right.
#[must_use]
pub fn check(evidence: &Evidence, expect: &Expect) -> Vec<String> {
    let mut found = evidence.complaints.clone();
    rules::untagged(evidence, expect, &mut found);
    rules::orphans(evidence, expect, &mut found);
    rules::double_launch(evidence, expect, &mut found);
    rules::short_gang(evidence, expect, &mut found);
    rules::after_end(evidence, expect, &mut found);
    rules::down(evidence, expect, &mut found);
    rules::fatal(evidence, &mut found);
    found
}
