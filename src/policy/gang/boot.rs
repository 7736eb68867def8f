//! From the grant to the job's start: what registers, what does not, and what is replaced.

use super::{Gang, House, JobView, Phase, Retired, Stage, Then, step};
use crate::{admit::Rung, limits::PAID_ATTEMPTS, parts::Part};
use burst_plan::Market;

/// Most times that addresses are told again to one boot.
const RETELLS: u8 = 4;
/// A reason that is still there so long after the release is not just what the last pass left behind (ms).
const REASON_MS: u64 = 5_000;

/// The pool's boot_limit, ms.
pub(super) fn limit_ms(g: &Gang, house: &dyn House) -> u64 {
    house.pool(&g.pool).map_or(480, |p| p.boot_limit.0) * 1000
}

/// The pool's start_limit, ms.
pub(super) fn start_ms(g: &Gang, house: &dyn House) -> u64 {
    house.pool(&g.pool).map_or(300, |p| p.start_limit.0) * 1000
}

/// One look at a booting gang.
pub(super) fn watch(g: &mut Gang, house: &dyn House, deadline: u64, now: u64) {
    let ready = |m: &super::Member| house.node(&m.node).is_some_and(|n| n.is_ready());
    let bad: Vec<(usize, String)> =
        g.members.iter().enumerate().filter_map(|(i, m)| Some((i, unfit(m, house)?))).collect();
    if let Some((_, first)) = bad.first() {
        let text = first.clone();
        let which: Vec<usize> = bad.iter().map(|b| b.0).collect();
        replace(g, house, &which, ("NodeFailed", text), now);
    } else if g.members.iter().all(|m| m.asked && ready(m)) && !g.members.is_empty() {
        if g.retold < RETELLS && forgotten(g, house) {
            g.retold += 1;
            g.enter(Phase::Granted { look_ms: 0 }, "Slurm has lost addresses: told again", now);
            return;
        }
        g.enter(Phase::Ready { retry_ms: 0, tries: 0 }, "every node is registered and idle", now);
    } else if now >= deadline && g.members.iter().all(|m| house.node(&m.node).is_some()) {
        let limit = limit_ms(g, house);
        let absent = || g.members.iter().enumerate().filter(|(_, m)| !(m.asked && ready(m)));
        let late: Vec<usize> =
            absent().filter(|(_, m)| now >= m.boots_from() + limit).map(|(i, _)| i).collect();
        if late.is_empty() {
            let next = absent().map(|(_, m)| m.boots_from() + limit).min().unwrap_or(now + limit);
            g.phase = Phase::Booting { deadline_ms: next };
            return;
        }
        let named = g.members.iter().enumerate().filter(|(i, _)| late.contains(i)).map(|(_, m)| m);
        let named: Vec<_> = named.map(|m| format!("{} ({})", m.node, m.instance)).take(8).collect();
        let text = format!("not registered within boot_limit: {}", named.join(", "));
        replace(g, house, &late, ("BootLimit", text), now);
    }
}

/// Marks the members whose node has another address in Slurm than in EC2: the in-process reconfigure of 22.05 and 23.02
/// forgets the addresses of names that are powered down (slurm-22.05 src/slurmctld/read_config.c
/// `_restore_node_state`), and a kill what was not saved. Without the address no step reaches the node.
fn forgotten(g: &mut Gang, house: &dyn House) -> bool {
    let of = |b: &&crate::config::Block| g.names.first().is_some_and(|n| b.names.contains(n));
    let block = house.pool(&g.pool).and_then(|p| p.blocks.iter().find(of));
    if block.is_none_or(|b| b.node_addr.is_some()) {
        return false;
    }
    let wrong = |m: &super::Member| m.ip.is_some() && house.node(&m.node).is_some_and(|n| n.address != m.ip);
    let mut any = false;
    for m in g.members.iter_mut().filter(|m| wrong(m)) {
        m.up = false;
        any = true;
    }
    any
}

/// Why a member will never serve.
fn unfit(m: &super::Member, house: &dyn House) -> Option<String> {
    if let Some(why) = &m.failed {
        return Some(format!("{} ({}) cannot serve: {why}", m.node, m.instance));
    }
    let n = house.node(&m.node)?;
    (n.down || n.drain).then(|| format!("{} ({}) is down or drained in Slurm", m.node, m.instance))
}

/// A node that is not there when its time is over, while a replacement of another is still on its way.
pub(super) fn overdue(g: &Gang, house: &dyn House, now: u64) -> Option<String> {
    let limit = limit_ms(g, house);
    // Of a node that was not looked at since the last effect nothing is known.
    let absent = |m: &super::Member| house.node(&m.node).is_some_and(|n| !n.is_ready());
    let m = g.members.iter().find(|m| m.up && now >= m.boots_from() + limit && absent(m))?;
    Some(format!("{} ({}) was not registered within boot_limit", m.node, m.instance))
}

/// Replaces members in the same zone and group, once, where that is worth it; else the gang is given back whole.
fn replace(g: &mut Gang, house: &dyn House, which: &[usize], (code, text): (&str, String), now: u64) {
    let Some(names) = fresh_names(g, house, which.len()) else {
        return step::give_up(g, code, text, now);
    };
    let Some(won) = &g.won else { return step::give_up(g, code, text, now) };
    let nodes = u32::try_from(which.len()).unwrap_or(u32::MAX);
    let rung = crate::admit::Rung { nodes, ..won.clone() };
    let Some(rung) = alike(g, which, house, &rung) else { return step::give_up(g, code, text, now) };
    g.last_error =
        Some(super::LastError { code: code.into(), message: text.clone(), request_id: None, at_ms: now });
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for (i, m) in std::mem::take(&mut g.members).into_iter().enumerate() {
        if which.contains(&i) { go.push(m) } else { stay.push(m) }
    }
    g.members = stay;
    g.names = g.members.iter().map(|m| m.node.clone()).chain(names).collect();
    g.retired.extend(go.into_iter().map(Retired::from));
    g.intent += 1;
    g.unsure = true;
    g.enter(Phase::Launching { rung, retry_ms: 0, tries: 0 }, format!("{text}; replaced"), now);
}

/// The one fleet that can replace these nodes: all of one market, and no more than a fleet takes. A critical node of a
/// mixed gang is not replaced: its name, and so its rank, would be another's.
fn alike(g: &Gang, which: &[usize], house: &dyn House, rung: &Rung) -> Option<Rung> {
    let market = |m: &super::Member| m.market.unwrap_or(rung.market);
    let mut kinds = which.iter().filter_map(|i| g.members.get(*i)).map(market);
    let kind = kinds.next().filter(|k| kinds.all(|other| other == *k))?;
    let mixed = rung.market == Market::Mixed;
    if mixed && kind != Market::Spot {
        return None;
    }
    let price = |p: &Part| p.market == kind;
    let hourly =
        g.won.as_ref().and_then(|w| house.parts(g, w).into_iter().find(price)).and_then(|p| p.hourly);
    let one = Part { first: 0, nodes: rung.nodes, market: kind, hourly }.of(rung);
    (house.parts(g, &one).len() == 1).then_some(one)
}

/// Names for replacements; None where nothing is to be replaced. A replacement is a paid attempt: what the retired ones
/// and the waiting others cost must fit into the attempt that is then given up.
fn fresh_names(g: &Gang, house: &dyn House, count: usize) -> Option<Vec<String>> {
    let (all, bad) = (g.names.len() as u64, count as u64);
    let pool = house.pool(&g.pool).filter(|p| !p.dry_run && !house.drained(&g.pool))?;
    let spared = pool.start_limit.0 + pool.epilog_limit.0 + g.geometry.time_limit.map_or(0, |t| t.0);
    let fits = bad.saturating_mul(pool.boot_limit.0) <= all.saturating_mul(spared);
    if g.paid >= PAID_ATTEMPTS || !g.retired.is_empty() || bad * 2 > all || !fits {
        return None;
    }
    // burst.toml may have been read again since: the block is the one of the same type.
    let won = g.won.as_ref()?;
    let same = |at: &usize| pool.blocks.get(*at).is_some_and(|b| b.instance_type == won.instance_type);
    let block = Some(won.block).filter(same).or_else(|| (0..pool.blocks.len()).find(same))?;
    let names = house.free_names(&g.pool, block, u32::try_from(count).ok()?)?;
    names.iter().all(|n| !g.all_names().any(|own| own == n)).then_some(names)
}

/// One look at a released job: the scheduler has start_limit, unless it says that it will not start it.
pub(super) fn watch_start(g: &mut Gang, job: &JobView, deadline: u64, now: u64) {
    let refused = Some(job.reason.as_str()).filter(|r| now >= g.since_ms + REASON_MS && is_limit(r));
    if refused.is_none() && now < deadline {
        return;
    }
    let (text, then) = match refused {
        Some(r) => (format!("released, but Slurm does not start it: {r}"), Then::Later { why: r.to_owned() }),
        None => (
            "released, but the scheduler did not start it within start_limit".to_owned(),
            Then::Again { rung: 0 },
        ),
    };
    let then = if g.paid >= PAID_ATTEMPTS { Then::Failed(text.clone()) } else { then };
    g.note(text, now);
    step::end(g, then, Stage::PowerDown, "held again", now);
}

/// Reasons that more waiting on idle nodes does not cure (slurm-22.05 src/common/slurm_protocol_defs.c
/// `job_reason_string`).
fn is_limit(reason: &str) -> bool {
    reason.starts_with("Assoc") || reason.starts_with("QOS") || reason == "Licenses" || reason == "InvalidQOS"
}
