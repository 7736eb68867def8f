//! From burst.toml's text to a configuration that cannot be wrong.

use super::{
    Aws, Cluster, Config, ConfigError, Limits, Placement, Pool, across,
    block::blocks,
    ec2, money,
    read::{Notes, Table},
    region, reservation,
};
use crate::types::TypeBook;
use burst_plan::{Efa, Else, Market, Seconds, plan::PLAN_BYTES};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// Default port of the controller's listener.
const PORT: u16 = 6826;

pub(super) fn config(text: &str, file: &str) -> Result<Config, Vec<ConfigError>> {
    let notes = Notes { text, file, errors: RefCell::default() };
    let root = match toml::de::DeTable::parse(text) {
        Ok(r) => r,
        Err(e) => {
            let offset = e.span().map_or(0, |s| s.start);
            notes.error(offset, "burst.toml", format!("not TOML: {}", e.message()));
            return Err(notes.errors.into_inner());
        }
    };
    let root = Table::new(Some(root.get_ref()), String::new(), 0, &notes);
    let book = TypeBook::builtin();
    let config = Config {
        cluster: cluster(&root.table("cluster")),
        aws: aws(&root.table("aws")),
        budget_service: super::budget::service(&root.table("budget_service")),
        pools: pools(&root, &book),
        price_file: {
            let t = root.table("prices");
            let f = t.text("file").map(PathBuf::from);
            t.finish();
            f
        },
        limits: limits(&root.table("limits")),
        capacity: ec2::capacity(&root.table("capacity")),
        rates: ec2::rates(&root.table("rates")),
        record: money::record(&root.table("record")),
    };
    root.finish();
    across::check(&config, &root);
    let mut errors = notes.errors.into_inner();
    if errors.is_empty() {
        return Ok(config);
    }
    errors.sort_by_key(|e| e.line);
    Err(errors)
}

fn cluster(t: &Table<'_, '_>) -> Cluster {
    let listen = t.text("listen").and_then(|l| {
        let parsed = l.parse::<SocketAddr>();
        parsed
            .map_err(|_| t.error("listen", format!("`{l}` is not an address: write \"10.0.0.5:6826\"")))
            .ok()
    });
    let advertise = t.texts("advertise");
    for url in &advertise {
        let host = url.strip_prefix("http://").map(|h| h.trim_end_matches('/'));
        if host.is_none_or(|h| h.is_empty() || h.contains(char::is_whitespace)) {
            t.error(
                "advertise",
                format!("`{url}` is not a URL nodes can use: write \"http://10.0.0.5:6826\""),
            );
        }
    }
    let listen = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    if advertise.is_empty() && listen.ip().is_unspecified() {
        t.error(
            "listen",
            "nodes need an address they can reach: write listen = \"10.0.0.5:6826\", or advertise",
        );
    }
    let cluster = Cluster {
        name: t.text("name").unwrap_or_default(),
        state_dir: t.text("state_dir").map(PathBuf::from),
        listen,
        advertise,
        operators: t.texts("operators"),
    };
    for who in cluster.operators.iter().filter(|w| w.is_empty() || w.contains(char::is_whitespace)) {
        t.error("operators", format!("`{who}` is neither a user name nor a uid"));
    }
    let odd = |b: u8| !(b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.');
    if cluster.name.len() > 64 || cluster.name.bytes().any(odd) {
        t.error("name", "a cluster's name has at most 64 letters, digits, - _ and .");
    }
    if cluster.state_dir.as_ref().is_some_and(|d| !d.is_absolute()) {
        t.error("state_dir", "must be an absolute path");
    }
    t.finish();
    cluster
}

fn aws(t: &Table<'_, '_>) -> Aws {
    let region = t.text("region").unwrap_or_else(|| {
        t.error("region", "missing: write region = \"us-east-2\"");
        String::new()
    });
    if !region.is_empty() && !is_region(&region) {
        t.error("region", format!("`{region}` is not a region: write one such as \"us-east-2\""));
    }
    let mut tags = BTreeMap::new();
    for (key, value) in t.pairs("tags") {
        let low = key.to_ascii_lowercase();
        if key.is_empty() {
            t.error("tags", "a tag without a name: write team = \"…\"");
        } else if low.starts_with("slurm-burst:") || low.starts_with("aws:") || key == "Name" {
            t.error("tags", format!("the tag {key} is not the site's to set: take another name"));
        } else if key.len() > 128 || value.len() > 256 {
            t.error(
                "tags",
                format!("the tag {key} is too long: EC2 takes 128 characters for keys, 256 for values"),
            );
        }
        if let Some(word) = unknown_word(&value) {
            t.error(
                "tags",
                format!(
                    "{{{word}}} in the tag {key} is not filled in: write {}",
                    TAG_WORDS.map(|w| format!("{{{w}}}")).join(" ")
                ),
            );
        }
        tags.insert(key, value);
    }
    if tags.len() > 40 {
        t.error("tags", "more than 40: EC2 takes 50, ten are ours");
    }
    let (profile, endpoint_url) = (t.text("profile"), t.text("endpoint_url"));
    let aws = Aws { region, profile, endpoint_url, endpoints: region::endpoints(t), tags };
    t.finish();
    aws
}

/// What the engine fills into the site's tags.
const TAG_WORDS: [&str; 5] = ["account", "user", "project", "pool", "job"];

/// A word in braces that nobody fills in.
fn unknown_word(value: &str) -> Option<&str> {
    let words = value.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(word, _)| word));
    words.into_iter().find(|word| !TAG_WORDS.contains(word))
}

/// Words between hyphens, the last of them a number: `us-east-2`, `us-gov-west-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let number = parts.last().is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    parts.len() >= 3 && parts.iter().all(word) && number
}

/// Whether Slurm could have a partition of this name: no list, nothing that ends a word in slurm.conf.
fn is_partition(name: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || c.is_control() || ",=\"'#\\".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.contains(ends)
}

fn limits(t: &Table<'_, '_>) -> Limits {
    let size = |key, least, most, usual: usize| {
        t.count(key, least, most).and_then(|n| usize::try_from(n).ok()).unwrap_or(usual)
    };
    let limits = Limits {
        max_nodes: t.small("max_nodes", 1, 100_000),
        max_cost_per_job: t.usd("max_cost_per_job"),
        fleet_most: t.small("fleet_most", 1, crate::limits::FLEET_MOST).unwrap_or(crate::limits::FLEET_MOST),
        collect_most: t.small("collect_most", 1, 100_000),
        plan_bytes: size("plan_bytes", 1_024, 120_000, PLAN_BYTES),
        queue: size("queue", 16, 1_000_000, 4_096),
        spending: money::spending(t),
    };
    t.finish();
    limits
}

fn pools(root: &Table<'_, '_>, book: &TypeBook) -> BTreeMap<String, Pool> {
    let all = root.table("pool");
    let mut out = BTreeMap::new();
    for (name, value) in all.map.into_iter().flatten() {
        let (key, at) = (name.get_ref().to_string(), name.span().start);
        let Some(map) = value.get_ref().as_table() else {
            all.notes.error(at, &all.at(&key), format!("is a table: write [pool.{key}]"));
            continue;
        };
        let fine =
            key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fine {
            all.notes.error(at, &all.at(&key), "a pool's name has at most 64 letters, digits, - and _");
        }
        let t = Table::new(Some(map), all.at(&key), at, all.notes);
        out.insert(key.clone(), pool(&t, key, book));
    }
    if out.is_empty() {
        root.error("pool", "no pool: write at least one [pool.NAME]");
    }
    out
}

const MARKETS: [(&str, Market); 3] =
    [("on-demand", Market::OnDemand), ("spot", Market::Spot), ("mixed", Market::Mixed)];

fn pool(t: &Table<'_, '_>, name: String, book: &TypeBook) -> Pool {
    let market = t.word("market", &MARKETS).unwrap_or(Market::OnDemand);
    let mut allowed = Vec::new();
    for m in t.texts("markets_allowed") {
        match MARKETS.iter().find(|(w, _)| *w == m) {
            Some((_, m)) => allowed.push(*m),
            None => {
                t.error("markets_allowed", format!("`{m}` is not a market: write on-demand, spot or mixed"))
            }
        }
    }
    if !allowed.contains(&market) {
        allowed.insert(0, market);
    }
    let efa_words = [("required", Efa::Required), ("preferred", Efa::Preferred), ("off", Efa::Off)];
    let efa = t.word("efa", &efa_words).unwrap_or(Efa::Preferred);
    let blocks = blocks(t, book);
    let time = |key, usual| t.time(key).unwrap_or(Seconds(usual));
    let else_words = [("wait", Else::Wait), ("local", Else::Local), ("cancel", Else::Cancel)];
    let largest = blocks.iter().map(|b| b.names.len()).max().unwrap_or(0);
    let most = u32::try_from(largest).unwrap_or(u32::MAX).min(crate::limits::FLEET_MOST);
    let placement = t
        .word("placement", &[("cluster", Placement::Cluster), ("none", Placement::None)])
        .unwrap_or(Placement::Cluster);
    let pool = Pool {
        partition: t.text("partition").unwrap_or_else(|| {
            t.error("partition", "missing: write partition = \"efa\"");
            String::new()
        }),
        market,
        markets_allowed: allowed,
        placement,
        efa,
        strict: t.word("plan_types", &[("advise", false), ("strict", true)]).unwrap_or(false),
        zones: t.pairs("zones"),
        image: t.text("image"),
        security_groups: t.texts("security_groups"),
        instance_profile: t.text("instance_profile"),
        launch_template: t.text("launch_template"),
        root_gib: t.small("root_gib", 1, 65_536),
        key_name: t.text("key_name"),
        public_ip: t.flag("public_ip").unwrap_or(false),
        boot_limit: time("boot_limit", 480),
        start_limit: time("start_limit", 300),
        epilog_limit: time("epilog_limit", 600),
        report_grace: time("report_grace", 10),
        orphan_limit: time("orphan_limit", 900),
        on_no_capacity: t.word("on_no_capacity", &else_words).unwrap_or(Else::Wait),
        wait_limit: t.time("wait_limit"),
        retry_min: time("retry_min", 30),
        retry_max: time("retry_max", 600),
        dry_run: t.flag("dry_run").unwrap_or(false),
        split_limit: time("split_limit", 600),
        critical_nodes: t.small("critical_nodes", 1, crate::limits::GANG_MOST).unwrap_or(1),
        local_partition: t.text("local_partition"),
        max_nodes: t.small("max_nodes", 1, crate::limits::GANG_MOST).unwrap_or(most),
        max_cost_per_job: t.usd("max_cost_per_job"),
        blocks,
        reservations: reservation::reservations(t, placement),
        reservations_only: t.flag("reservations_only").unwrap_or(false),
        regions: region::regions(t),
        name,
    };
    if t.get("linger").is_some() && t.time("linger").is_some_and(|l| l.0 > 0) {
        t.error("linger", "keeping nodes after a job is not supported yet: write \"0s\" or leave it out");
    }
    check_pool(t, &pool, book);
    reservation::check(t, &pool);
    region::check(t, &pool);
    t.finish();
    pool
}

/// What is a pool's in one Region.
pub(super) struct Home<'a> {
    pub zones: &'a [(String, String)],
    pub image: Option<&'a String>,
    pub security_groups: &'a [String],
    pub launch_template: Option<&'a String>,
}

/// The same rules in each Region.
pub(super) fn check_home(t: &Table<'_, '_>, p: &Home<'_>) {
    let starts = |key: &str, value: &str, with: &str| {
        let rest = value.strip_prefix(with).unwrap_or("");
        if rest.is_empty() || rest.len() > 64 || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            t.error(key, format!("`{value}` does not look like {with}…"));
        }
    };
    if p.zones.is_empty() {
        t.error(
            "zones",
            "missing: write zones = { \"us-east-2b\" = \"subnet-0aa11\" }, in order of preference",
        );
    }
    for (i, (zone, subnet)) in p.zones.iter().enumerate() {
        starts("zones", subnet, "subnet-");
        if let Some((other, _)) = p.zones.iter().take(i).find(|(_, s)| s == subnet) {
            t.error("zones", format!("{subnet} stands for {other} and {zone}: a subnet lies in one zone"));
        }
    }
    match (p.image, p.launch_template) {
        (None, None) => {
            t.error("image", "missing: write image = \"ami-…\", or launch_template = \"lt-…\" of your own")
        }
        (Some(_), Some(_)) => {
            t.error("image", "either image or launch_template, not both: the template names the image")
        }
        (Some(image), None) => {
            starts("image", image, "ami-");
            if p.security_groups.is_empty() {
                t.error(
                    "security_groups",
                    "missing: write security_groups = [\"sg-…\"], open to itself for EFA",
                );
            }
        }
        _ => {}
    }
    for group in p.security_groups {
        starts("security_groups", group, "sg-");
    }
}

fn check_pool(t: &Table<'_, '_>, p: &Pool, book: &TypeBook) {
    check_home(
        t,
        &Home {
            zones: &p.zones,
            image: p.image.as_ref(),
            security_groups: &p.security_groups,
            launch_template: p.launch_template.as_ref(),
        },
    );
    if !p.partition.is_empty() && !is_partition(&p.partition) {
        t.error("partition", format!("`{}` cannot be one partition's name: write one name", p.partition));
    }
    if p.on_no_capacity == Else::Local && p.local_partition.is_none() {
        t.error("local_partition", "on_no_capacity = \"local\" needs local_partition");
    }
    if p.retry_max < p.retry_min {
        t.error("retry_max", "is shorter than retry_min");
    }
    for (key, value, least, most, text) in [
        ("boot_limit", p.boot_limit, 1, 7_200, "is from 1s to 2h"),
        ("start_limit", p.start_limit, 1, 86_400, "is from 1s to 1d"),
        ("epilog_limit", p.epilog_limit, 1, 86_400, "is from 1s to 1d"),
        ("report_grace", p.report_grace, 0, 3_600, "is at most 1h"),
        (
            "orphan_limit",
            p.orphan_limit,
            5,
            604_800,
            "is from 5s to 7d: shorter, and a slow answer ends nodes",
        ),
        ("split_limit", p.split_limit, 1, 7_200, "is from 1s to 2h"),
        ("retry_min", p.retry_min, 1, 86_400, "is from 1s to 1d"),
        ("retry_max", p.retry_max, 1, 86_400, "is from 1s to 1d"),
    ] {
        if !(least..=most).contains(&value.0) {
            t.error(key, text);
        }
    }
    for b in &p.blocks {
        let facts = book.get(&b.instance_type);
        if p.efa == Efa::Required && b.efa_max == 0 {
            let unknown =
                if facts.is_none() { " that is known of: if it has, write efa = N in its block" } else { "" };
            t.error("efa", format!("required, but {} has no EFA{unknown}", b.instance_type));
        }
        if matches!(p.market, Market::Spot | Market::Mixed) && facts.is_some_and(|f| !f.spot) {
            t.error("market", format!("{} is not sold as spot", b.instance_type));
        }
        // A type that is not known has a card for each EFA interface (EC2's rule: one on each card).
        if p.public_ip && facts.map_or(b.efa_max > 1, |f| f.cards.len() > 1) {
            let why =
                "EC2 gives no public address to instances with several interfaces: use NAT or endpoints";
            t.error("public_ip", format!("{}: {why}", b.instance_type));
        }
    }
}
