//! A second Region: half of the stories have one, gangs go there when the first is full, and nothing is left there.

use crate::{
    laws::Laws,
    life::{Life, Outside},
    operators::{Story, until},
    slurm::State,
    story::{Now, quiet},
    users,
};
use burst_cloud::fake::{Delays, FakeCloud};
use burst_plan::Market;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What burst.toml says of it.
pub const TOML: &str = r#"
[pool.efa.region.us-west-2]
zones = { "us-west-2b" = "subnet-0bb11" }
image = "ami-2"
security_groups = ["sg-2"]
"#;

/// Its name.
pub const REGION: &str = "us-west-2";
const ZONE: &str = "us-west-2b";
const TYPES: [&str; 2] = ["hpc7a.96xlarge", "hpc6a.48xlarge"];
const HOME: [&str; 2] = ["us-east-2b", "us-east-2a"];

/// Before slurmctld starts.
pub fn set_up(ec2: &FakeCloud, delays: Delays) {
    let there = ec2.in_region(REGION);
    there.add_subnet("subnet-0bb11", ZONE, 4_000);
    there.set_delays(delays);
}

fn home_holds(ec2: &FakeCloud, instances: u32) {
    for kind in TYPES {
        for zone in HOME {
            ec2.set_capacity(kind, zone, Market::OnDemand, instances);
        }
    }
}

/// The first Region is full, or the second has so many left.
pub fn change(out: &Outside) {
    let dice = &out.dice;
    if dice.chance(500) {
        out.slurm.laws.note(dice.passed_ms(), "====   the first Region is full");
        home_holds(&out.ec2, 0);
        return;
    }
    let left = dice.range(0, 12);
    out.slurm.laws.note(dice.passed_ms(), format!("====   the second Region has {left} left"));
    for kind in TYPES {
        let left = u32::try_from(left).unwrap_or(0);
        out.ec2.in_region(REGION).set_capacity(kind, ZONE, Market::OnDemand, left);
    }
}

/// Room for all, at the end.
pub fn calm(out: &Outside) {
    for kind in TYPES {
        out.ec2.in_region(REGION).set_capacity(kind, ZONE, Market::OnDemand, 100_000);
    }
}

/// One attempt of a gang is in one Region and one zone.
pub fn judge(out: &Outside, laws: &Laws, at_ms: u64) {
    let mut places: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (request, _) in out.ec2.fleets().iter().filter(|(_, a)| !a.instances.is_empty()) {
        let tag = |k: &str| request.tags.get(k).cloned().unwrap_or_default();
        let key = (tag("slurm-burst:gang"), tag("slurm-burst:attempt"));
        places.entry(key).or_default().insert(request.zone.clone());
        if request.region.is_some() {
            laws.count("abroad");
        }
        let far = request.zone == ZONE;
        if far != (request.region.as_deref() == Some(REGION)) {
            laws.broke(at_ms, format!("{} was launched in {:?}", request.zone, request.region));
        }
    }
    for ((gang, attempt), zones) in places.into_iter().filter(|(_, z)| z.len() > 1) {
        laws.broke(at_ms, format!("gang {gang} attempt {attempt} is in {zones:?}"));
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn alive_abroad(out: &Outside) -> usize {
    out.ec2.in_region(REGION).alive().len()
}

/// A gang goes to the second Region when the first is full; then burst.toml does not name that Region any more, slurmctld
/// restarts, and still the job runs to its end and nothing is left; what is planted there with our tag is ended, too.
///
/// # Errors
/// What did not come true.
pub fn a_region_that_is_dropped() -> Story {
    crate::operators::on_stage_with(TOML, |out, now: Now| async move {
        home_holds(&out.ec2, 0);
        let life = Life::begin(&out);
        now.set(Some(life.handle.clone()));
        let job = users::plain(&out, &now, 2, 120_000).await;
        let running = || out.slurm.tables().jobs.get(&job).is_some_and(|j| j.state == State::Running);
        until("the job runs abroad", 10 * MINUTE, running).await?;
        if alive_abroad(&out) != 2 {
            return Err(format!("{} instances are abroad", alive_abroad(&out)));
        }
        let home = out.without();
        life.kill(&out);
        out.slurm.killed();
        let life = Life::begin(&home);
        now.set(Some(life.handle.clone()));
        let mut stray = out.ec2.in_region(REGION).alive().remove(0);
        stray.id = "i-0dead".into();
        stray.tags.insert("slurm-burst:gang".into(), "ffffffffffffffff".into());
        out.ec2.in_region(REGION).plant(stray);
        until("the stray is ended", 5 * MINUTE, || !out.ec2.lives("i-0dead")).await?;
        if !running() {
            return Err("the job was ended with its Region".into());
        }
        until("all is given back", 20 * MINUTE, || quiet(&out) && alive_abroad(&out) == 0).await
    })
}
