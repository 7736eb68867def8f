//! The ledger, against EC2's own list: every instance that was granted to a gang is in one life of it, or still with it.

use crate::{laws::Laws, life::Outside};
use burst_policy::{gang::Gang, life::Life};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

/// What the journal has at the end.
struct Books {
    gangs: BTreeMap<String, Gang>,
    lives: Vec<Life>,
}

fn read(out: &Outside) -> Books {
    let db = out.disk.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = |sql: &str| -> Vec<String> {
        let mut q = db.prepare(sql).expect("the tables are there");
        let rows = q.query_map([], |r| r.get(0)).expect("can be read");
        rows.map(|r| r.expect("is a text")).collect()
    };
    let gangs = texts("SELECT doc FROM gang").into_iter();
    let gangs = gangs.map(|d| serde_json::from_str::<Gang>(&d).expect("a gang"));
    let lives =
        texts("SELECT doc FROM ledger").iter().map(|d| serde_json::from_str(d).expect("a life")).collect();
    Books { gangs: gangs.map(|g| (g.key(), g)).collect(), lives }
}

/// Every instance of a known gang is somewhere, and none is billed twice for the same time.
pub fn judge(out: &Outside, laws: &Laws, at: u64) {
    let books = read(out);
    // What was ended without having been seen is said, and cannot be listed.
    let mut unseen: BTreeSet<String> =
        books.gangs.values().filter(|g| g.track.unseen).map(Gang::key).collect();
    unseen.extend(books.lives.iter().filter(|l| l.unseen).map(|l| l.gang.clone()));
    let mut known: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    let lives = books.lives.iter().flat_map(|l| &l.instances);
    for ran in lives.chain(books.gangs.values().flat_map(|g| &g.track.spent)) {
        let end = ran.ended_ms.unwrap_or(u64::MAX);
        known.entry(&ran.id).or_default().push((ran.launched_ms, end));
    }
    for gang in books.gangs.values() {
        for id in gang.all_instances() {
            known.entry(id).or_default();
        }
    }
    for life in &books.lives {
        laws.count("lives");
        if life.phases.started_ms.is_some() && life.served().next().is_none() {
            laws.broke(at, format!("a life of job {} ran on no instance", life.text));
        }
    }
    for (request, answer) in out.ec2.fleets() {
        let gang = request.tags.get("slurm-burst:gang").cloned().unwrap_or_default();
        // One whose document the journal lost has no life to be billed to; its instances are orphans.
        if unseen.contains(&gang) || !books.gangs.contains_key(&gang) {
            continue;
        }
        for i in answer.instances.iter().filter(|i| !known.contains_key(i.id.as_str())) {
            laws.broke(at, format!("{} of gang {gang} is in no life of it", i.id));
        }
    }
    for (id, mut times) in known {
        times.sort_unstable();
        if times.windows(2).any(|w| matches!(w, [a, b] if b.0 < a.1)) {
            laws.broke(at, format!("{id} is billed twice: {times:?}"));
        }
    }
}
