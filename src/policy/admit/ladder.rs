//! From wishes to rungs: what the user may choose narrows what the pool allows, and nothing else.

use super::{
    Admission, Rung, Site,
    bill::{costs, hourly},
    reserved,
};
use crate::{
    config::{Block, Placement, Pool},
    limits::SMALL_USE_PERCENT,
    parts,
};
use burst_plan::{Efa, Geometry, Market, MicroUsd, Request, geometry::nodes_for, request::compare};

pub(super) fn admission(
    site: Site<'_>,
    pool: &Pool,
    request: &Request,
    job: &Geometry,
) -> Result<Admission, String> {
    refuse(pool, request, job)?;
    let mut notices: Vec<String> =
        compare(request, job).into_iter().map(|w| format!("{}: {}", w.path, w.text)).collect();
    let (mut blocks, efa) = blocks(site, pool, request, &mut notices)?;
    // Advice that the job does not fit is no reason to refuse it.
    let advice = !request.types.is_empty() && !request.types_bind && !pool.strict;
    if advice && !blocks.iter().any(|(_, b)| nodes_for(job, b.cpus, b.memory_mib, b.gpus).is_ok()) {
        let types = request.types.join(", ");
        notices.push(format!("the job does not fit the plan's types ({types}): the pool's own order serves"));
        let open = Request { types: Vec::new(), ..request.clone() };
        blocks = self::blocks(site, pool, &open, &mut notices)?.0;
    }
    let market = market(site, pool, request, &blocks, &mut notices)?;
    let zones = zones(pool, request, &mut notices);
    placement(pool, request, &mut notices);
    let ladder = rungs(site, pool, request, job, (&blocks, market, &zones, efa))?;
    notices.extend(reserved::unused(pool, market));
    let worst_cost = costs(site, pool, request, job, &ladder, &mut notices)?;
    let wait = match (request.wait, pool.wait_limit) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let otherwise = request.otherwise.unwrap_or(pool.on_no_capacity);
    if otherwise == burst_plan::Else::Local && pool.local_partition.is_none() {
        return Err(format!(
            "--burst-else=local: pool {} has no local_partition; write wait or cancel",
            pool.name
        ));
    }
    tell(pool, job, &ladder, worst_cost, &mut notices);
    tell_parts(site, pool, request, &ladder, &mut notices);
    Ok(Admission { pool: pool.name.clone(), ladder, worst_cost, otherwise, wait, notices })
}

fn refuse(pool: &Pool, request: &Request, job: &Geometry) -> Result<(), String> {
    if job.het_offset.is_some() {
        return Err(
            "heterogeneous jobs are not supported in burst pools yet; submit the components as separate jobs"
                .into(),
        );
    }
    if request.should_burst == Some(false) {
        let local = pool.local_partition.as_deref().unwrap_or("a local one");
        return Err(format!(
            "the plan says this job should not burst (should_burst=false), but partition {} launches nodes; submit it to \
             partition {local}, or without the plan",
            pool.partition
        ));
    }
    if job.unlimited {
        return Err(
            "a burst job needs a time limit, because its cost must have a bound: write --time=HH:MM:SS"
                .into(),
        );
    }
    if job.min_nodes == Some(0) {
        return Err("--nodes=0 asks for nothing; write at least 1".into());
    }
    Ok(())
}

/// Blocks with their indices, and the EFA they are launched with.
type Tried<'a> = (Vec<(usize, &'a Block)>, Efa);

/// Blocks in the order they are tried, and what becomes of the wish for EFA: an option binds, and so does a strict pool;
/// a plan that asks for what none of the blocks has is told so and served without.
fn blocks<'a>(
    site: Site<'_>,
    pool: &'a Pool,
    request: &Request,
    notices: &mut Vec<String>,
) -> Result<Tried<'a>, String> {
    let mut all: Vec<(usize, &Block)> = pool.blocks.iter().enumerate().collect();
    let mut efa = request.efa.unwrap_or(pool.efa);
    let advice = request.efa.is_some() && !request.efa_binds && !pool.strict;
    if efa == Efa::Required && advice {
        let serves = |b: &Block| !request.types_bind || request.types.contains(&b.instance_type);
        if !pool.blocks.iter().any(|b| serves(b) && b.efa_max > 0) {
            let whose = if request.types_bind { "--burst-types" } else { "pool" };
            let named = if request.types_bind { request.types.join(", ") } else { pool.name.clone() };
            notices.push(format!(
                "the plan asks for EFA, but no type of {whose} {named} has it: launched without \
                 (--burst-efa=required refuses instead)"
            ));
            efa = if pool.efa == Efa::Required { Efa::Preferred } else { pool.efa };
        }
    }
    let own = || pool.blocks.iter().map(|b| b.instance_type.as_str()).collect::<Vec<_>>().join(", ");
    if !request.types.is_empty() {
        let binds = request.types_bind || pool.strict;
        // Every block of a type serves, and a type that is named twice is tried once.
        let mut wanted: Vec<(usize, &Block)> = Vec::new();
        for t in &request.types {
            for &(i, b) in all.iter().filter(|(_, b)| b.instance_type == *t) {
                let usable = efa != Efa::Required || b.efa_max > 0;
                if usable && !wanted.iter().any(|(w, _)| *w == i) {
                    wanted.push((i, b));
                }
            }
        }
        match (wanted.is_empty(), binds) {
            (true, true) => {
                return Err(format!(
                    "{}pool {} has {}, the job allows {}",
                    hint(site, request, efa),
                    pool.name,
                    own(),
                    request.types.join(", ")
                ));
            }
            (true, false) => notices.push(format!(
                "{}none of the plan's types ({}) can be used in pool {}: its own order serves ({})",
                hint(site, request, efa),
                request.types.join(", "),
                pool.name,
                own()
            )),
            (false, _) => all = wanted,
        }
    }
    if efa == Efa::Required {
        all.retain(|(_, b)| b.efa_max > 0);
        if all.is_empty() {
            let instead = match request.efa_binds {
                true => "write --burst-efa=preferred, or name another pool",
                false => "write --burst-efa=preferred to run without",
            };
            return Err(format!(
                "EFA is required, but no type of pool {} has it ({}); {instead}",
                pool.name,
                own()
            ));
        }
    }
    Ok((all, efa))
}

/// What is wrong with the first type that was asked for, where that can be told.
fn hint(site: Site<'_>, request: &Request, efa: Efa) -> String {
    let first = request.types.first().map_or("", String::as_str);
    let family = site.types.family(first);
    match site.types.get(first) {
        Some(f) if efa == Efa::Required && f.efa_max == 0 => format!("{first} has no EFA; "),
        None if !family.is_empty() => {
            format!("{first} does not exist (there are {}); ", family.join(", "))
        }
        _ => String::new(),
    }
}

fn market(
    site: Site<'_>,
    pool: &Pool,
    request: &Request,
    blocks: &[(usize, &Block)],
    notices: &mut Vec<String>,
) -> Result<Market, String> {
    let Some(wanted) = request.market else { return Ok(pool.market) };
    let allowed = pool.markets_allowed.contains(&wanted);
    let offers = site.offers.pool(&pool.name);
    let sold = blocks.iter().any(|(i, _)| offers.get(*i).is_none_or(|o| o.sold(wanted)));
    if allowed && sold {
        return Ok(wanted);
    }
    let why = match allowed {
        true => format!("no type of pool {} is sold as {}", pool.name, wanted.word()),
        false => format!("pool {} does not allow {}", pool.name, wanted.word()),
    };
    if request.market_binds {
        let words: Vec<&str> = pool.markets_allowed.iter().map(|m| m.word()).collect();
        return Err(format!("{why}; write --burst-market={}, or leave it out", words.join(" or ")));
    }
    notices.push(format!("{why}: {} serves", pool.market.word()));
    Ok(pool.market)
}

/// Region (None: the site's own), zone and subnet.
type Spot<'a> = (Option<&'a str>, &'a str, &'a str);

fn zones<'a>(pool: &'a Pool, request: &Request, notices: &mut Vec<String>) -> Vec<Spot<'a>> {
    let wanted: Vec<_> =
        pool.places().filter(|(_, z, _)| request.zones.iter().any(|wanted| wanted == z)).collect();
    if wanted.is_empty() {
        if !request.zones.is_empty() {
            let text =
                format!("none of the plan's zones ({}) is in pool {}", request.zones.join(", "), pool.name);
            notices.push(format!("{text}: the pool's own serve"));
        }
        return pool.places().collect();
    }
    wanted
}

fn placement(pool: &Pool, request: &Request, notices: &mut Vec<String>) {
    let own = if pool.placement == Placement::Cluster { "cluster" } else { "none" };
    if let Some(p) = request.placement.as_deref().filter(|p| *p != own) {
        notices.push(format!("the plan's placement ({p}) is not the pool's: placement {own} serves"));
    }
}

type Choice<'a> = (&'a [(usize, &'a Block)], Market, &'a [Spot<'a>], Efa);

fn rungs(
    site: Site<'_>,
    pool: &Pool,
    request: &Request,
    job: &Geometry,
    (blocks, market, zones, efa): Choice<'_>,
) -> Result<Vec<Rung>, String> {
    let offers = site.offers.pool(&pool.name);
    let mut ladder = Vec::with_capacity(blocks.len() * zones.len());
    let mut plain = Vec::new();
    let mut why = Vec::new();
    for &(index, block) in blocks {
        let kind = &block.instance_type;
        let offer = offers.get(index).copied().unwrap_or_default();
        if !offer.sold(market) {
            why.push(format!("{kind} is not sold as {}", market.word()));
            continue;
        }
        let nodes = match nodes_for(job, block.cpus, block.memory_mib, block.gpus) {
            Ok(n) => n,
            Err(e) => {
                why.push(format!("on {kind}: {e}"));
                continue;
            }
        };
        let most = pool.max_nodes.min(u32::try_from(block.names.len()).unwrap_or(u32::MAX));
        let most = site.config.limits.max_nodes.map_or(most, |m| m.min(most));
        if nodes > most {
            why.push(format!("on {kind}: it needs {nodes} nodes, at most {most} are allowed"));
            continue;
        }
        for (region, zone, subnet) in zones {
            let there = site.offers.at(&pool.name, *region).get(index).copied().unwrap_or_default();
            let hourly = match market {
                Market::Mixed => {
                    let price = |m| hourly(pool, there, m);
                    let critical = parts::critical(pool, request);
                    parts::mean_hourly(nodes, critical, price(Market::OnDemand), price(Market::Spot))
                }
                one => hourly(pool, there, one),
            };
            let rung = Rung {
                block: index,
                instance_type: kind.clone(),
                zone: (*zone).to_owned(),
                subnet: (*subnet).to_owned(),
                market,
                nodes,
                efa: if efa == Efa::Off { 0 } else { block.efa_max },
                hourly,
                max_price: if market == Market::OnDemand { None } else { request.max_spot_price },
                reservation: None,
                region: region.map(str::to_owned),
            };
            if let Err(e) =
                parts::fits(&parts::of(site, pool, request, &rung), site.config.rates.instances, pool)
            {
                why.push(format!("on {kind}: {e}"));
                break;
            }
            match efa == Efa::Preferred && block.efa_max == 0 {
                true => plain.push(rung),
                false => ladder.push(rung),
            }
        }
    }
    // A further Region only after everything in the one before.
    let order = |r: &Rung| zones.iter().position(|z| z.0 == r.region.as_deref());
    ladder.sort_by_key(order);
    plain.sort_by_key(order);
    reserved::put(pool, &mut ladder);
    reserved::put(pool, &mut plain);
    // Preferred: without EFA only after everything that has it.
    ladder.append(&mut plain);
    why.extend(reserved::only(pool, &mut ladder));
    if ladder.is_empty() {
        return Err(format!("the job fits nothing in pool {}: {}", pool.name, why.join("; ")));
    }
    Ok(ladder)
}

/// What a gang that takes several fleets is told of them.
fn tell_parts(site: Site<'_>, pool: &Pool, request: &Request, ladder: &[Rung], notices: &mut Vec<String>) {
    let Some(first) = ladder.first() else { return };
    let cut = parts::of(site, pool, request, first);
    if cut.len() > 1 {
        let forecast = parts::forecast(&cut, site.config.rates.instances);
        notices.insert(1.min(notices.len()), parts::notice(&cut, &forecast, pool));
    }
}

fn tell(pool: &Pool, job: &Geometry, ladder: &[Rung], worst: Option<MicroUsd>, notices: &mut Vec<String>) {
    let Some(first) = ladder.first() else { return };
    let efa = if first.efa > 0 { ", EFA" } else { "" };
    let more = match ladder.len() {
        1 => String::new(),
        2 => " (or in one other place)".to_owned(),
        n => format!(" (or one of {} other places)", n - 1),
    };
    let cost = match worst {
        Some(w) => format!("the most it can cost is USD {w}"),
        None if job.time_limit.is_none() => {
            "the most it can cost is told once its time limit is known".to_owned()
        }
        None => "the most it can cost is not known (no price)".to_owned(),
    };
    notices.insert(
        0,
        format!(
            "{} x {} ({}, {}{efa}){more} will be launched for this job; {cost}; it is held until all nodes are up",
            first.nodes,
            first.instance_type,
            first.market.word(),
            first.zone
        ),
    );
    if job.array.is_some() {
        notices.push(
            "an array: every task gets nodes of its own; nodes, cost and cost limits are of one task".into(),
        );
    }
    let Some(block) = pool.blocks.get(first.block) else { return };
    let has = u64::from(block.cpus) * u64::from(first.nodes);
    // Without --ntasks each node runs --ntasks-per-node of them.
    let each = u64::from(first.nodes) * u64::from(job.ntasks_per_node.unwrap_or(1).max(1));
    let tasks = job.ntasks.map_or(each, |n| u64::from(n).max(u64::from(first.nodes)));
    let uses = tasks.saturating_mul(u64::from(job.cpus_per_task.unwrap_or(1)));
    let uses = uses.max(u64::from(job.min_cpus.unwrap_or(0)));
    if !job.exclusive
        && uses.saturating_mul(100) < has.saturating_mul(SMALL_USE_PERCENT)
        && !burst_plan::Gpus::of(job).any()
    {
        notices.push(format!(
            "the job uses {uses} of the {has} CPUs it pays for; fewer nodes, more tasks or a smaller type would be cheaper"
        ));
    }
}
