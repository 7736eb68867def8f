//! burst.toml, right and wrong.

use super::*;
use proptest::prelude::*;

pub(crate) const GOOD: &str = r#"
[cluster]
listen = "10.0.0.5:6826"
[aws]
region = "us-east-2"
tags = { team = "hpc-{account}" }
[pool.efa]
partition = "efa"
efa = "required"
zones = { "us-east-2b" = "subnet-0aa11", "us-east-2a" = "subnet-0aa12" }
image = "ami-1"
security_groups = ["sg-1"]
local_partition = "cpu"
[[pool.efa.block]]
type = "hpc7a.96xlarge"
nodes = "efa7-[0001-0064]"
[[pool.efa.block]]
type = "hpc6a.48xlarge"
nodes = "efa6-[0001-0064]"
[limits]
max_cost_per_job = 2000.0
"#;

pub(crate) fn good() -> Config {
    Config::parse(GOOD, "burst.toml").expect("good")
}

pub(crate) fn pool() -> Pool {
    good().pools.remove("efa").expect("efa")
}

fn errors(text: &str) -> String {
    let all = Config::parse(text, "burst.toml").expect_err("must fail");
    all.iter().map(|e| format!("{e}\n")).collect()
}

#[test]
fn defaults_follow_from_the_types() {
    let p = pool();
    assert_eq!((p.blocks[0].cpus, p.blocks[0].names.len(), p.blocks[0].efa_max), (192, 64, 2));
    assert_eq!(p.blocks[0].memory_mib, 786_432 * 95 / 100);
    assert_eq!(p.zones[0].0, "us-east-2b", "the order of the file is the order of preference");
    assert_eq!((p.boot_limit, p.max_nodes), (Seconds(480), 64));
    assert_eq!(good().limits.max_cost_per_job, Some(MicroUsd(2_000_000_000)));
}

#[test]
fn rates_and_memory_have_ec2s_defaults_and_are_the_sites() {
    let c = good();
    assert_eq!((c.capacity.first_ms, c.capacity.longest_ms), (180_000, 900_000));
    assert_eq!((c.rates.launch.size, c.rates.launch.per_s, c.rates.instances.size), (50, 5, 1_000));
    let own = "[capacity]\nforget = \"20m\"\n[rates]\nlaunch = \"10/1\"\n";
    let c = Config::parse(&format!("{GOOD}{own}"), "burst.toml").expect("good");
    assert_eq!((c.capacity.first_ms, c.capacity.longest_ms), (1_200_000, 1_200_000));
    assert_eq!((c.rates.launch.size, c.rates.launch.per_s, c.rates.describe.per_s), (10, 1, 20));
    let wrong = "[capacity]\nforget = \"2m\"\nlongest = \"1m\"\n[rates]\nlaunch = \"50\"\nlanch = \"1/1\"\n";
    let e = errors(&format!("{GOOD}{wrong}"));
    for part in [
        "capacity.longest: is shorter than forget",
        "rates.launch: `50` is not a bucket",
        "did you mean `launch`?",
    ] {
        assert!(e.contains(part), "{part} is not in {e}");
    }
}

#[test]
fn all_errors_at_once_with_their_lines() {
    let text = GOOD
        .replace("efa = \"required\"", "efa = \"maybe\"")
        .replace("sg-1", "group")
        .replace("listen", "lisen");
    let e = errors(&text);
    assert!(e.contains("burst.toml:3: cluster.lisen: unknown key; did you mean `listen`?"), "{e}");
    assert!(
        e.contains("burst.toml:9: pool.efa.efa: `maybe` is not known: write required, preferred, off"),
        "{e}"
    );
    assert!(e.contains("security_groups: `group` does not look like sg-"), "{e}");
}

#[test]
fn what_cannot_work_is_refused() {
    let cases = [
        ("image = \"ami-1\"", "", "image: missing"),
        ("region = \"us-east-2\"", "", "region: missing"),
        ("hpc7a.96xlarge", "hpc7a.2xlarge", "known sizes are hpc7a.12xlarge"),
        ("hpc6a.48xlarge", "m5.xlarge", "m5.xlarge has no EFA"),
        ("efa6-[0001-0064]", "efa7-[0060-0070]", "stands in two blocks"),
        ("efa6-[0001-0064]", "efa6-[0009-0001]", "runs backwards"),
        ("\"us-east-2a\"", "\"eu-west-1a\"", "is not in region"),
        ("local_partition = \"cpu\"", "local_partition = \"efa\"", "is a pool's own"),
        ("local_partition = \"cpu\"", "local_partition = \"cpu,efa\"", "is a pool's own"),
        ("local_partition = \"cpu\"", "orphan_limit = \"0s\"", "orphan_limit: is from 5s"),
        ("local_partition = \"cpu\"", "start_limit = \"3000d\"", "start_limit: is from 1s"),
        ("local_partition = \"cpu\"", "retry_min = \"0s\"", "retry_min: is from 1s"),
        ("partition = \"efa\"", "partition = \"efa,x\"", "cannot be one partition's name"),
        ("subnet-0aa12", "subnet-0aa11", "subnet-0aa11 stands for us-east-2b and us-east-2a"),
        ("subnet-0aa12", "subnet-", "does not look like subnet-"),
        ("ami-1", "ami-1 x", "does not look like ami-"),
        ("region = \"us-east-2\"", "region = \"us\"", "is not a region"),
        ("\"us-east-2a\"", "\"us-east-2\"", "is not in region"),
        ("efa7-[0001-0064]", "efa7-1,efa7-1", "efa7-1 stands twice"),
        ("nodes = \"efa7", "ports = \"70001-70064\"\nnodes = \"efa7", "write a range of 64 ports"),
        ("[aws]", "advertise = [\"http://\"]\n[aws]", "is not a URL"),
        ("[aws]", "operators = [\"a b\"]\n[aws]", "neither a user name"),
        ("team = ", "\"AWS:x\" = ", "not the site's to set"),
        ("team = ", "\"\" = ", "a tag without a name"),
        ("team = ", "\"slurm-burst:job\" = ", "not the site's to set"),
        ("efa = \"required\"", "market = \"spot\"", "is not sold as spot"),
        ("efa = \"required\"", "public_ip = true", "no public address"),
        ("2000.0", "-5.0", "limits.max_cost_per_job"),
        (
            "hpc-{account}",
            "hpc-{acount}",
            "{acount} in the tag team is not filled in: write {account} {user}",
        ),
        ("[aws]", "name = \"a/../b\"\n[aws]", "a cluster's name has"),
        ("nodes = \"efa7", "node_addr = \"a b\"\nnodes = \"efa7", "is one address or host name"),
        ("efa7-[0001-0064]", "efa[1-1000000][1-1000000]", "more than 65536 names"),
        (
            "2000.0",
            "2000.0\n[limits.user.ada]\nusd_per_week = 1",
            "limits.user.ada.usd_per_week: unknown key",
        ),
        ("2000.0", "2000.0\n[limits.user.ada]", "limits.user.ada: says nothing"),
        ("2000.0", "2000.0\n[limits.pool.x]\nusd_per_day = 1", "limits.pool.x: there is no pool x"),
        ("2000.0", "2000.0\nover_limit = \"stop\"", "write hold, refuse"),
        ("2000.0", "2000.0\nwarn_percent = 0", "from 1 to 100"),
        ("2000.0", "2000.0\n[record]\ndir = \"here\"", "record.dir: must be an absolute path"),
        ("[aws]", "[aws", "not TOML"),
    ];
    for (from, to, want) in cases {
        let e = errors(&GOOD.replacen(from, to, 1));
        assert!(e.contains(want), "{from} → {to}: {e}");
    }
}

fn reserve(lines: &str) -> String {
    GOOD.replace("[limits]", &format!("[[pool.efa.reservation]]\n{lines}\n[limits]"))
}

#[test]
fn reservations_are_read_and_their_contradictions_refused() {
    let fine = "id = \"cr-0a\"\ntype = \"hpc7a.96xlarge\"\nzone = \"us-east-2b\"\ngroup = \"ours\"";
    let p = Config::parse(&reserve(fine), "f").expect("good").pools.remove("efa").expect("efa");
    let r = p.reservations.first().expect("one");
    assert_eq!((r.kind, r.group.as_deref()), (crate::reservation::Kind::Targeted, Some("ours")));
    let block = format!("{}\nkind = \"capacity-block\"", fine.replace("\ngroup = \"ours\"", ""));
    let p = Config::parse(&reserve(&block), "f").expect("good").pools.remove("efa").expect("efa");
    assert_eq!(p.reservations.first().expect("one").kind, crate::reservation::Kind::CapacityBlock);
    for (lines, want) in [
        (fine.replace("cr-0a", "r-1"), "`r-1` does not look like cr-"),
        (fine.replace("hpc7a.96xlarge", "p5.48xlarge"), "cr-0a: no block of this pool has type p5.48xlarge"),
        (fine.replace("us-east-2b", "us-east-2c"), "cr-0a: zone us-east-2c is not one of this pool's zones"),
        (fine.replace("\ngroup = \"ours\"", ""), "the pool launches into placement groups of its own"),
        (format!("{block}\ngroup = \"ours\""), "a Capacity Block takes no placement group"),
        (format!("{fine}\nkind = \"spot\""), "`spot` is not known: write open, targeted, capacity-block"),
        (format!("{fine}\ncount = 3"), "unknown key"),
        (fine.replace("zone = \"us-east-2b\"\n", ""), "reservation[0].zone: missing"),
        (format!("{fine}\n[[pool.efa.reservation]]\n{fine}"), "cr-0a stands twice in this pool"),
    ] {
        let e = errors(&reserve(&lines));
        assert!(e.contains(want), "{lines}: {e}");
    }
    let e = errors(&reserve(fine).replace("image = \"ami-1\"", "launch_template = \"lt-1\""));
    assert!(e.contains("write image instead of launch_template"), "{e}");
    let spot = reserve(&fine.replace("hpc7a.96xlarge", "c5n.18xlarge"))
        .replace("efa = \"required\"", "efa = \"required\"\nmarket = \"spot\"")
        .replace("type = \"hpc7a.96xlarge\"\nnodes", "type = \"c5n.18xlarge\"\nnodes");
    assert!(errors(&spot).contains("spot instances do not run in reservations"), "{}", errors(&spot));
    let only = GOOD.replace("efa = \"required\"", "efa = \"required\"\nreservations_only = true");
    assert!(errors(&only).contains("reservations_only: there is none"), "{}", errors(&only));
    // A type that nobody knows, but that has two EFA interfaces, has two cards.
    let cards = GOOD
        .replace("efa = \"required\"", "efa = \"required\"\npublic_ip = true")
        .replace("type = \"hpc7a.96xlarge\"", "type = \"hpc9z.96xlarge\"\ncpus = 4\nmemory = 1000\nefa = 2");
    assert!(errors(&cards).contains("public_ip: hpc9z.96xlarge"), "{}", errors(&cards));
}

const WEST: &str = "[pool.efa.region.us-west-2]\nzones = { \"us-west-2b\" = \"subnet-0bb11\" }\nimage = \"ami-2\"\n\
    security_groups = [\"sg-2\"]\n";

#[test]
fn further_regions_are_read_in_their_order_and_checked_as_the_first() {
    let two = format!("{GOOD}{WEST}{}", WEST.replace("us-west-2", "eu-west-1").replace("0bb11", "0cc11"));
    let c = Config::parse(&two, "f").expect("good");
    assert_eq!(c.regions(), ["us-east-2", "us-west-2", "eu-west-1"]);
    let p = &c.pools["efa"];
    let zones: Vec<_> = p.places().map(|(r, z, _)| (r.unwrap_or(""), z)).collect();
    assert_eq!(
        zones,
        [("", "us-east-2b"), ("", "us-east-2a"), ("us-west-2", "us-west-2b"), ("eu-west-1", "eu-west-1b")]
    );
    let there = p.in_region(Some("us-west-2")).expect("there");
    assert_eq!((there.image.as_deref(), there.security_groups), (Some("ami-2"), vec!["sg-2".to_owned()]));
    assert_eq!(p.in_region(None).as_ref(), Some(p));
    assert_eq!(p.in_region(Some("ap-south-1")), None);
    let endpoint = "[aws.endpoints]\nus-west-2 = \"http://127.0.0.1:1\"\n";
    let c = Config::parse(&format!("{GOOD}{WEST}{endpoint}"), "f").expect("good");
    assert_eq!(c.aws.endpoints["us-west-2"], "http://127.0.0.1:1");
    for (from, to, want) in [
        (
            "\"us-west-2b\"",
            "\"us-east-2c\"",
            "region.us-west-2.zones: zone us-east-2c is not in region us-west-2",
        ),
        ("image = \"ami-2\"\n", "", "pool.efa.region.us-west-2.image: missing"),
        ("sg-2", "group", "`group` does not look like sg-"),
        ("region.us-west-2", "region.west", "`west` is not a region"),
        ("region.us-west-2", "region.us-east-2", "us-east-2 is [aws] region"),
        ("image = \"ami-2\"", "launch_template = \"lt-2\"", "the pool has image, so write image there"),
        ("image = ", "market = \"spot\"\nimage = ", "region.us-west-2.market: unknown key"),
    ] {
        let e = errors(&format!("{GOOD}{}", WEST.replacen(from, to, 1)));
        assert!(e.contains(want), "{from} → {to}: {e}");
    }
    let e = errors(&format!("{GOOD}{WEST}{}", endpoint.replace("http://", "")));
    assert!(e.contains("aws.endpoints: the URL of us-west-2 must begin with"), "{e}");
}

#[test]
fn partitions_of_a_broken_file_are_still_found() {
    assert_eq!(
        Config::partitions_of_broken("[pool.efa\n partition = \"efa\" # x\npartition='b'"),
        ["efa", "b"]
    );
    for (text, want) in [
        ("pool.efa.partition = \"efa\"\n[", vec!["efa"]),
        ("pool={efa={partition=\"efa\", x=1},b={ partition = 'b'", vec!["efa", "b"]),
        ("\u{feff}\"partition\" = \"efa\"\n[x", vec!["efa"]),
        ("partition = efa\r\n[", vec!["efa"]),
        ("local_partition = \"cpu\"\n# partition = \"old\"\nx = \"#\" # partition = \"no\"", vec![]),
    ] {
        assert_eq!(Config::partitions_of_broken(text), want, "{text}");
    }
}

#[test]
fn what_crosses_pools_is_told_where_it_stands() {
    let (head, rest) = GOOD.split_once("[pool.efa]").expect("a pool");
    let (body, _) = rest.split_once("[limits]").expect("limits");
    let second = format!("{head}[pool.efa]{body}[pool.two]{}", body.replace("pool.efa", "pool.two"));
    let e = errors(&second);
    assert!(e.contains("burst.toml:21: pool.two.partition: pools efa and two share partition efa"), "{e}");
    assert!(e.contains("pool.two.block: pools efa and two share node efa7-0001"), "{e}");
    assert!(e.contains("pool.two.block: pools efa and two share node efa6-0001"), "all at once: {e}");
}

const MONEY: &str = r#"
over_limit = "refuse"
warn_percent = 70
alert_file = "/var/log/burst-alerts.json"
[limits.cluster]
usd_per_hour = 500
[limits.user."*"]
usd_per_day = "50.5"
[limits.account.lab]
usd_per_month = 1000
[limits.pool.efa]
usd_per_hour = 200
[record]
enabled = false
dir = "/srv/records"
keep_days = 7
keep_bytes = 1000000
"#;

#[test]
fn money_has_limits_of_everybody() {
    use crate::spending::{Budget, Who};
    let config = Config::parse(&format!("{GOOD}{MONEY}"), "f").expect("good");
    let s = &config.limits.spending;
    assert_eq!((s.refuse, s.warn_percent, s.rules.len()), (true, 70, 4));
    let of = |who: Who| s.of(&who);
    assert_eq!(of(Who::Cluster).hour, Some(MicroUsd(500_000_000)));
    assert_eq!(of(Who::User("bob".into())).day, Some(MicroUsd(50_500_000)));
    assert_eq!(of(Who::Account("lab".into())).month, Some(MicroUsd(1_000_000_000)));
    assert_eq!(of(Who::Account("x".into())), Budget::default());
    let r = &config.record;
    assert_eq!(
        (r.enabled, r.dir.to_str(), r.keep_days, r.keep_bytes),
        (false, Some("/srv/records"), 7, 1_000_000)
    );
    assert!(good().record.enabled && good().limits.spending.rules.is_empty());
}

#[test]
fn a_configuration_survives_serde() {
    for text in [GOOD.to_owned(), format!("{GOOD}{MONEY}")] {
        let config = Config::parse(&text, "f").expect("good");
        let text = serde_json::to_string(&config).expect("writes");
        assert_eq!(serde_json::from_str::<Config>(&text).expect("reads"), config);
    }
}

#[test]
fn money_is_read_as_it_was_meant() {
    let limit = |amount: &str| {
        let text = GOOD.replace("2000.0", amount);
        Config::parse(&text, "f").map(|c| c.limits.max_cost_per_job)
    };
    for (amount, want) in
        [("0x10", 16_000_000), ("2_000.5", 2_000_500_000), ("\"12.5\"", 12_500_000), ("7", 7_000_000)]
    {
        assert_eq!(limit(amount), Ok(Some(MicroUsd(want))), "{amount}");
    }
    for amount in ["nan", "inf", "-0x1", "-5", "\"-1\"", "true"] {
        assert!(limit(amount).is_err(), "{amount}");
    }
}

proptest! {
    #[test]
    fn never_panics(at in 0usize..700, b in any::<char>(), cut in 0usize..700) {
        let mut text: Vec<char> = GOOD.chars().collect();
        if let Some(c) = text.get_mut(at) { *c = b; }
        text.truncate(text.len().saturating_sub(cut));
        let text: String = text.into_iter().collect();
        let _ = Config::parse(&text, "f");
        let _ = Config::partitions_of_broken(&text);
    }
}

#[test]
fn where_to_ask_is_known_of_a_broken_file_too() {
    let text = "[cluster]\nlisten = \"10.0.0.5:6826\"\nadvertise = [\"http://a:1\"]\ncolour = 1\n[pool.x]\n";
    assert!(Config::parse(text, "f").is_err());
    let (listen, advertise) = Config::listeners(text);
    assert_eq!((listen, advertise), ("10.0.0.5:6826".parse().ok(), vec!["http://a:1".to_owned()]));
    assert_eq!(Config::listeners("[cluster"), (None, Vec::new()));
    assert_eq!(Config::listeners("cluster = 3"), (None, Vec::new()));
}
