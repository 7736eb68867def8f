//! What no pool of burst.toml can see alone: names, partitions and zones shared or misplaced.

use super::{Config, Pool, check::is_region, read::Table};
use crate::spending::Who;
use std::collections::{BTreeMap, BTreeSet};

/// A pool's own table once more, to say where it stands.
fn of_pool<'a, 't>(root: &Table<'a, 't>, name: &str) -> Option<Table<'a, 't>> {
    let all = root.table("pool");
    let (key, value) = all.map?.iter().find(|(k, _)| k.get_ref() == name)?;
    Some(Table::new(value.get_ref().as_table(), all.at(name), key.span().start, all.notes))
}

/// us-east-2b, and local zones such as us-east-1-bos-1a.
pub(super) fn is_zone_of(region: &str, zone: &str) -> bool {
    let rest = zone.strip_prefix(region).unwrap_or("");
    rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '-')
}

/// What no pool can see alone.
pub(super) fn check(config: &Config, root: &Table<'_, '_>) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut partitions: BTreeMap<&str, &str> = BTreeMap::new();
    let error = |pool: &Pool, key: &str, text: String| match of_pool(root, &pool.name) {
        Some(t) => t.error(key, text),
        None => root.error("pool", text),
    };
    for pool in config.pools.values() {
        if let Some(other) = partitions.insert(&pool.partition, &pool.name)
            && !pool.partition.is_empty()
        {
            let text = format!("pools {other} and {} share partition {}", pool.name, pool.partition);
            error(pool, "partition", text);
        }
        for block in &pool.blocks {
            let mut own = BTreeSet::new();
            for name in &block.names {
                let twice = !own.insert(name.as_str());
                let text = match owners.get(name.as_str()) {
                    _ if twice => format!("node {name} stands twice in nodes = \"{}\"", block.nodes),
                    Some(other) if *other == pool.name => {
                        format!("node {name} stands in two blocks of pool {other}")
                    }
                    Some(other) => format!("pools {other} and {} share node {name}", pool.name),
                    None => continue,
                };
                error(pool, "block", text);
                break;
            }
            owners.extend(own.into_iter().map(|name| (name, pool.name.as_str())));
        }
        let region = config.aws.region.as_str();
        for (zone, _) in pool.zones.iter().filter(|(z, _)| is_region(region) && !is_zone_of(region, z)) {
            error(
                pool,
                "zones",
                format!("zone {zone} is not in region {region}: write one such as {region}a"),
            );
        }
        for r in pool.regions.iter().filter(|r| r.region == region) {
            let text = format!("{} is [aws] region: its zones stand in the pool itself", r.region);
            error(pool, "region", text);
        }
    }
    for (who, _) in &config.limits.spending.rules {
        if let Who::Pool(name) = who
            && name != "*"
            && !config.pools.contains_key(name)
        {
            let text = format!("there is no pool {name}");
            root.notes.error(root.place("limits"), &format!("limits.pool.{name}"), text);
        }
    }
    for pool in config.pools.values() {
        for local in pool.local_partition.iter().flat_map(|l| l.split(',')) {
            if partitions.contains_key(local) {
                let text = format!("{local} is a pool's own partition: write one that has nodes");
                error(pool, "local_partition", text);
            }
        }
    }
}
