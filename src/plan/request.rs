//! One answer from options, plan and annotations, by the documented precedence.
use crate::{Annotations, Efa, Else, Market, MicroUsd, Options, Plan, Seconds, Warning};
use serde::{Deserialize, Serialize};

/// What the user wants, merged: options over plan over annotations. What is `None` is the pool's to decide.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Pool named by `--burst=POOL`.
    pub pool: Option<String>,
    /// False: the advisor says this job should not burst.
    pub should_burst: Option<bool>,
    /// Types wanted, in order.
    pub types: Vec<String>,
    /// True when the types come from `--burst-types`: then they bind, otherwise they are advice.
    pub types_bind: bool,
    /// Market wanted.
    pub market: Option<Market>,
    /// True when the market comes from an option.
    pub market_binds: bool,
    /// EFA wanted.
    pub efa: Option<Efa>,
    /// True when it comes from `--burst-efa`: then it binds, otherwise it is advice.
    pub efa_binds: bool,
    /// Zones wanted.
    pub zones: Vec<String>,
    /// Placement group type wanted.
    pub placement: Option<String>,
    /// Cost bound of the whole job: the smallest of all sources.
    pub max_cost: Option<MicroUsd>,
    /// Hourly bound.
    pub max_cost_per_hour: Option<MicroUsd>,
    /// USD per spot instance-hour.
    pub max_spot_price: Option<MicroUsd>,
    /// Nodes of a mixed gang that must not be interrupted.
    pub critical: Option<u32>,
    /// How long to wait for capacity.
    pub wait: Option<Seconds>,
    /// What to do without capacity.
    pub otherwise: Option<Else>,
    /// Node count the plan had in mind.
    pub plan_nodes: Option<u32>,
    /// Process count the plan or annotations had in mind.
    pub plan_processes: Option<u32>,
}

/// Merges by precedence: options, then plan, then annotations; a cost bound is the smallest of all.
#[must_use]
pub fn merge(options: &Options, plan: Option<&Plan>, notes: &Annotations) -> (Request, Vec<Warning>) {
    let none = Plan::default();
    let p = plan.unwrap_or(&none);
    let smallest = |all: &[Option<MicroUsd>]| all.iter().flatten().min().copied();
    let types = options.types.clone().unwrap_or_else(|| match p.types.is_empty() {
        true => notes.types.clone().unwrap_or_default(),
        false => p.types.clone(),
    });
    let request = Request {
        pool: options.pool.clone().filter(|n| !n.is_empty()),
        should_burst: plan.map(|p| p.should_burst).or(notes.should_burst),
        types,
        types_bind: options.types.is_some(),
        market: options.market.or(p.market).or(notes.market),
        market_binds: options.market.is_some(),
        efa: options.efa.or(p.efa).or(notes.efa),
        efa_binds: options.efa.is_some(),
        zones: p.zones.clone(),
        placement: p.placement.clone().or_else(|| notes.placement.clone()),
        max_cost: smallest(&[options.max_cost, p.max_cost, notes.max_cost]),
        max_cost_per_hour: p.max_cost_per_hour,
        max_spot_price: smallest(&[p.max_spot_price, notes.max_spot_price]),
        critical: p.critical,
        wait: options.wait,
        otherwise: options.otherwise,
        plan_nodes: p.nodes,
        plan_processes: p.processes.or(notes.processes),
    };
    (request, Vec::new())
}

/// Where the plan's counts and the job's differ: the job's own geometry is the truth, and its owner is told.
#[must_use]
pub fn compare(request: &Request, job: &crate::Geometry) -> Vec<Warning> {
    let mut out = Vec::new();
    let mut differ = |path: &str, plan: Option<u32>, own: Option<u32>, option: &str| {
        if let (Some(plan), Some(own)) = (plan, own)
            && plan != own
        {
            let text = format!(
                "the plan says {plan}, the job asks for {own} ({option}): the job's own number counts"
            );
            out.push(Warning { path: path.to_owned(), text });
        }
    };
    let fixed = job.min_nodes.filter(|n| *n > 1 || job.max_nodes == Some(1));
    differ("instance_specification.instance_count", request.plan_nodes, fixed, "--nodes");
    differ("mpi_configuration.process_count", request.plan_processes, job.ntasks, "--ntasks");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;

    #[test]
    fn options_beat_the_plan_and_the_smallest_bound_counts() {
        let options = Options { max_cost: Some(MicroUsd(9)), efa: Some(Efa::Off), ..Options::default() };
        let plan = Plan {
            should_burst: true,
            efa: Some(Efa::Required),
            types: vec!["a.b".into()],
            max_cost: Some(MicroUsd(5)),
            ..Plan::default()
        };
        let notes = Annotations {
            types: Some(vec!["c.d".into()]),
            market: Some(Market::Spot),
            ..Annotations::default()
        };
        let (r, _) = merge(&options, Some(&plan), &notes);
        assert_eq!((r.efa, r.max_cost, r.market), (Some(Efa::Off), Some(MicroUsd(5)), Some(Market::Spot)));
        assert_eq!((r.types, r.types_bind), (vec!["a.b".to_owned()], false));
    }

    #[test]
    fn only_an_option_binds() {
        let plan = Plan { efa: Some(Efa::Required), ..Plan::default() };
        let (advice, _) = merge(&Options::default(), Some(&plan), &Annotations::default());
        assert_eq!((advice.efa, advice.efa_binds), (Some(Efa::Required), false));
        let option = Options { efa: Some(Efa::Required), ..Options::default() };
        assert!(merge(&option, Some(&plan), &Annotations::default()).0.efa_binds);
        // A document of before the field was there.
        let old: Request = serde_json::from_str(r#"{"efa":"required"}"#).expect("reads");
        assert_eq!((old.efa, old.efa_binds), (Some(Efa::Required), false));
    }

    #[test]
    fn counts_that_differ_are_told() {
        let request = Request { plan_nodes: Some(4), plan_processes: Some(8), ..Request::default() };
        let job = Geometry { min_nodes: Some(2), ntasks: Some(8), ..Geometry::default() };
        let told = compare(&request, &job);
        assert_eq!(told.len(), 1);
        assert!(told[0].text.contains("the plan says 4, the job asks for 2"), "{}", told[0].text);
    }
}
