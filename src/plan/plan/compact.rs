//! A checked plan in one short line, as SPANK sends it.
//!
//! slurmctld holds its locks while job_submit runs: what the client has read, checked and told its author about need not
//! be read again there. The line is no more to be trusted than the plan itself: every value is checked as a plan's is.

use super::{Plan, PlanError, PlanErrors, fields::is_zone};
use crate::{Efa, Market, MicroUsd, Seconds, options::is_type_name};

/// What a line begins with; a change of meaning changes it.
const MARK: &str = "plan1";
/// Most types or zones.
const MOST: usize = 32;
/// Longest line (bytes).
const LONGEST: usize = 8 * 1024;
/// Most that a count, an amount (USD 1e9) or a time (ten years) may say.
const COUNT: u64 = 1_000_000;
const MONEY: u64 = 1_000_000_000_000_000;
const TIME: u64 = 316_224_000;

/// Whether a text is meant to be such a line, of whatever version.
pub(super) fn is_line(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"plan").and_then(|rest| rest.first()).is_some_and(u8::is_ascii_digit)
}

/// The line of a plan. What says nothing to slurmctld (tuning, reasons, fields the site decides) is left out.
#[must_use]
pub fn compact(plan: &Plan) -> String {
    let mut out = format!("{MARK} burst={}", u8::from(plan.should_burst));
    let mut add = |key: &str, value: String| {
        out.push(' ');
        out.push_str(key);
        out.push('=');
        out.push_str(&value);
    };
    let mut list = |key: &str, list: &[String]| {
        if !list.is_empty() {
            add(key, list.join(","));
        }
    };
    list("types", &plan.types);
    list("zones", &plan.zones);
    let mut number = |key: &str, value: Option<u64>| {
        if let Some(v) = value {
            add(key, v.to_string());
        }
    };
    number("nodes", plan.nodes.map(u64::from));
    number("processes", plan.processes.map(u64::from));
    number("critical", plan.critical.map(u64::from));
    number("spot_price", plan.max_spot_price.map(|m| m.0));
    number("cost", plan.max_cost.map(|m| m.0));
    number("hourly", plan.max_cost_per_hour.map(|m| m.0));
    number("longest", plan.max_duration.map(|s| s.0));
    number("runtime", plan.expected_runtime.map(|s| s.0));
    if let Some(m) = plan.market {
        add("market", m.word().to_owned());
    }
    if let Some(e) = plan.efa {
        add("efa", e.word().to_owned());
    }
    if let Some(p) = &plan.placement {
        add("placement", p.clone());
    }
    out
}

/// Reads such a line; it may be forged.
pub(super) fn read(bytes: &[u8]) -> Result<Plan, PlanErrors> {
    let wrong = |text: String| {
        PlanErrors(vec![PlanError {
            path: "BURST_PLAN".into(),
            line: 1,
            column: 1,
            text: crate::clean(&text, 200),
        }])
    };
    let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= LONGEST);
    let text = text.ok_or_else(|| wrong("longer than what SPANK writes, or no text".into()))?;
    let mut words = text.split(' ');
    if words.next() != Some(MARK) {
        return Err(wrong(
            "written by another version of slurm-burst: the login node and the controller must have the same"
                .into(),
        ));
    }
    let mut plan = Plan { should_burst: true, ..Plan::default() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        take(&mut plan, key, value).ok_or_else(|| wrong(format!("`{word}` is not what SPANK writes")))?;
    }
    Ok(plan)
}

fn take(plan: &mut Plan, key: &str, value: &str) -> Option<()> {
    let number = |most: u64| value.parse::<u64>().ok().filter(|n| (1..=most).contains(n));
    let count = || number(COUNT).and_then(|n| u32::try_from(n).ok());
    let money = || number(MONEY).map(MicroUsd);
    let list = |fine: fn(&str) -> bool| -> Option<Vec<String>> {
        let all: Vec<String> = value.split(',').map(str::to_owned).collect();
        (all.len() <= MOST && all.iter().all(|v| fine(v))).then_some(all)
    };
    match key {
        "burst" if matches!(value, "0" | "1") => plan.should_burst = value == "1",
        "types" => plan.types = list(is_type_name)?,
        "zones" => plan.zones = list(is_zone)?,
        "nodes" => plan.nodes = Some(count()?),
        "processes" => plan.processes = Some(count()?),
        "critical" => plan.critical = Some(count()?),
        "spot_price" => plan.max_spot_price = Some(money()?),
        "cost" => plan.max_cost = Some(money()?),
        "hourly" => plan.max_cost_per_hour = Some(money()?),
        "longest" => plan.max_duration = Some(Seconds(number(TIME)?)),
        "runtime" => plan.expected_runtime = Some(Seconds(number(TIME)?)),
        "market" => {
            let all = [Market::OnDemand, Market::Spot, Market::Mixed];
            plan.market = Some(all.into_iter().find(|m| m.word() == value)?);
        }
        "efa" => {
            let all = [Efa::Required, Efa::Preferred, Efa::Off];
            plan.efa = Some(all.into_iter().find(|e| e.word() == value)?);
        }
        "placement" if super::fields::PLACEMENTS.contains(&value) => plan.placement = Some(value.to_owned()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PLAN_BYTES, parse};
    use proptest::prelude::*;

    fn any_plan() -> impl Strategy<Value = Plan> {
        let names = |p: &'static str| proptest::collection::vec(p, 0..4);
        let money = || proptest::option::of((1..=MONEY).prop_map(MicroUsd));
        let time = || proptest::option::of((1..=TIME).prop_map(Seconds));
        let count = || proptest::option::of(1u32..=1_000_000);
        let words = (
            proptest::option::of(prop_oneof![
                Just(Market::OnDemand),
                Just(Market::Spot),
                Just(Market::Mixed)
            ]),
            proptest::option::of(prop_oneof![Just(Efa::Required), Just(Efa::Preferred), Just(Efa::Off)]),
            proptest::option::of(prop_oneof![Just("cluster".to_owned()), Just("spread".to_owned())]),
        );
        let lists = (names("[a-z][a-z0-9]{1,5}\\.[a-z0-9]{2,8}"), names("[a-z]{2}-[a-z]{4}-[1-3][a-f]"));
        (any::<bool>(), lists, count(), count(), money(), money(), money(), time(), time(), words).prop_map(
            |(
                should_burst,
                (types, zones),
                nodes,
                processes,
                spot,
                cost,
                hourly,
                longest,
                runtime,
                words,
            )| Plan {
                should_burst,
                types,
                zones,
                nodes,
                processes,
                max_spot_price: spot,
                max_cost: cost,
                max_cost_per_hour: hourly,
                max_duration: longest,
                expected_runtime: runtime,
                market: words.0,
                efa: words.1,
                placement: words.2,
                ..Plan::default()
            },
        )
    }

    proptest! {
        #[test]
        fn a_plan_comes_through_whole(plan in any_plan()) {
            let line = compact(&plan);
            prop_assert_eq!(parse(line.as_bytes(), PLAN_BYTES).expect("reads").plan, plan);
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(text in "plan1 [a-z0-9_=., -]{0,80}") {
            if let Ok(parsed) = parse(text.as_bytes(), PLAN_BYTES) {
                let again = parse(compact(&parsed.plan).as_bytes(), PLAN_BYTES).expect("reads").plan;
                prop_assert_eq!(again, parsed.plan);
            }
        }
    }

    #[test]
    fn forged_lines_say_what_is_wrong() {
        for (line, says) in [
            ("plan2 burst=1", "another version"),
            ("plan1 burst=2", "burst=2"),
            ("plan1 cost=-1", "cost=-1"),
            ("plan1 cost=0", "cost=0"),
            ("plan1 cost=9999999999999999999", "cost="),
            ("plan1 types=hpc7a", "types=hpc7a"),
            ("plan1 types=", "types="),
            ("plan1 zones=../x", "zones"),
            ("plan1 placement=anywhere", "placement"),
            ("plan1 ami=ami-1", "ami"),
            ("plan1  burst=1", "is not what SPANK writes"),
        ] {
            let told = parse(line.as_bytes(), PLAN_BYTES).expect_err(line).0[0].text.clone();
            assert!(told.contains(says), "{line}: {told}");
        }
        let long = format!("plan1 types={}", "a.b,".repeat(3_000));
        assert!(parse(long.as_bytes(), PLAN_BYTES).is_err());
    }
}
