//! `[capacity]` and `[rates]`: how long places without capacity are remembered, and what EC2 takes in a second.

use super::read::Table;
use crate::{
    budget::{Buckets, Rate},
    memory::Spans,
};
use burst_plan::Seconds;

pub(super) fn capacity(t: &Table<'_, '_>) -> Spans {
    let usual = Spans::default();
    let ms = |s: Seconds| s.0.saturating_mul(1_000);
    let forget = t.time("forget").map_or(usual.first_ms, ms);
    let longest = t.time("longest").map_or(usual.longest_ms.max(forget), ms);
    for (key, value) in [("forget", forget), ("longest", longest)] {
        if !(1_000..=86_400_000).contains(&value) {
            t.error(key, "is from 1s to 1d");
        }
    }
    if longest < forget {
        t.error("longest", "is shorter than forget");
    }
    t.finish();
    Spans { first_ms: forget, longest_ms: longest }
}

pub(super) fn rates(t: &Table<'_, '_>) -> Buckets {
    let usual = Buckets::default();
    let rate = |key, usual: Rate| match t.text(key).map(|text| Rate::parse(&text)) {
        None => usual,
        Some(Ok(rate)) => rate,
        Some(Err(e)) => {
            t.error(key, e);
            usual
        }
    };
    let buckets = Buckets {
        launch: rate("launch", usual.launch),
        change: rate("change", usual.change),
        describe: rate("describe", usual.describe),
        terminate: rate("terminate", usual.terminate),
        instances: rate("instances", usual.instances),
        ended: rate("ended", usual.ended),
    };
    t.finish();
    buckets
}
