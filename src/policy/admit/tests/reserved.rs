//! The pool's reservations in the ladder.

use super::*;
use crate::reservation::Kind;

const ODCR: &str = "[[pool.efa.reservation]]\nid = \"cr-0a\"\ntype = \"hpc6a.48xlarge\"\nzone = \"us-east-2a\"\ngroup = \"none\"\n";
const OPEN: &str = "[[pool.efa.reservation]]\nid = \"cr-0b\"\nkind = \"open\"\ntype = \"hpc7a.96xlarge\"\nzone = \"us-east-2b\"\ngroup = \"ours\"\n";

fn with(extra: &str, change: (&str, &str)) -> Config {
    let text = GOOD.replace("[limits]", &format!("{extra}[limits]")).replace(change.0, change.1);
    Config::parse(&text, "f").expect("good")
}

type Place<'a> = (&'a str, &'a str, Option<&'a str>);

fn places(a: &Admission) -> Vec<Place<'_>> {
    a.ladder.iter().map(place).collect()
}

fn place(r: &Rung) -> Place<'_> {
    let id = r.reservation.as_ref().map(|r| r.id.as_str());
    (r.instance_type.as_str(), r.zone.as_str(), id)
}

#[test]
fn what_is_reserved_is_tried_first_in_the_order_of_the_file() {
    let config = with(&format!("{ODCR}{OPEN}"), ("", ""));
    let a = admitted(decide_in(&config, &Request::default(), &job(384)));
    assert_eq!(
        places(&a),
        [
            ("hpc6a.48xlarge", "us-east-2a", Some("cr-0a")),
            ("hpc7a.96xlarge", "us-east-2b", Some("cr-0b")),
            ("hpc7a.96xlarge", "us-east-2b", None),
            ("hpc7a.96xlarge", "us-east-2a", None),
            ("hpc6a.48xlarge", "us-east-2b", None),
            ("hpc6a.48xlarge", "us-east-2a", None),
        ]
    );
    let kinds: Vec<_> = a.ladder.iter().filter_map(|r| r.reservation.as_ref()).collect();
    assert_eq!((kinds[0].kind, kinds[0].group.as_deref()), (Kind::Targeted, None));
    assert_eq!((kinds[1].kind, kinds[1].group.as_deref()), (Kind::Open, Some("ours")));
    assert_eq!((a.ladder[0].nodes, a.ladder[1].nodes), (4, 2), "counted for its hardware");
}

#[test]
fn wishes_narrow_reservations_as_they_narrow_the_rest() {
    let config = with(&format!("{ODCR}{OPEN}"), ("", ""));
    let of = |request: &Request| {
        let a = admitted(decide_in(&config, request, &job(96)));
        places(&a).into_iter().filter_map(|p| p.2.map(str::to_owned)).collect::<Vec<_>>()
    };
    let types = Request { types: vec!["hpc7a.96xlarge".into()], types_bind: true, ..Request::default() };
    assert_eq!(of(&types), ["cr-0b"]);
    let zones = Request { zones: vec!["us-east-2a".into()], ..Request::default() };
    assert_eq!(of(&zones), ["cr-0a"]);
    // A job that does not fit the hardware does not fit the reservation.
    let large = Geometry { mem_per_node: Some(600_000), ..job(96) };
    let a = admitted(decide_in(&config, &Request::default(), &large));
    assert!(places(&a).iter().all(|p| p.2 != Some("cr-0a")), "{:?}", places(&a));
}

#[test]
fn a_pool_may_have_nothing_else() {
    let config = with(ODCR, ("efa = \"required\"", "efa = \"required\"\nreservations_only = true"));
    let a = admitted(decide_in(&config, &Request::default(), &job(96)));
    assert_eq!(places(&a), [("hpc6a.48xlarge", "us-east-2a", Some("cr-0a"))]);
    let other = Request { types: vec!["hpc7a.96xlarge".into()], types_bind: true, ..Request::default() };
    let text = refused(decide_in(&config, &other, &job(96)));
    assert!(text.contains("launches only into its reservations (cr-0a)"), "{text}");
}

#[test]
fn spot_does_not_run_in_reservations() {
    let spot = "[[pool.efa.reservation]]\nid = \"cr-0c\"\ntype = \"c5n.18xlarge\"\nzone = \"us-east-2b\"\ngroup = \"none\"\n";
    let config = with(spot, ("type = \"hpc7a.96xlarge\"\nnodes", "type = \"c5n.18xlarge\"\nnodes"));
    let mut config = config;
    let pool = config.pools.get_mut("efa").expect("efa");
    pool.markets_allowed.push(Market::Spot);
    config.limits.max_cost_per_job = None;
    let wish = Request { market: Some(Market::Spot), market_binds: true, ..Request::default() };
    let a = admitted(decide_in(&config, &wish, &job(36)));
    assert!(a.ladder.iter().all(|r| r.reservation.is_none()), "{:?}", a.ladder);
    let told = "spot instances do not run in the pool's capacity reservations";
    assert!(a.notices.iter().any(|n| n == told), "{:?}", a.notices);
    let a = admitted(decide_in(&config, &Request::default(), &job(36)));
    assert_eq!(a.ladder[0].reservation.as_ref().map(|r| r.id.as_str()), Some("cr-0c"));
}

#[test]
fn a_rung_of_before_reservations_still_reads() {
    let a = admitted(decide(&Request::default(), &job(96)));
    let text = serde_json::to_string(&a.ladder[0]).expect("writes");
    assert!(!text.contains("reservation"), "documents without one stay as they were: {text}");
    assert_eq!(serde_json::from_str::<Rung>(&text).expect("reads"), a.ladder[0]);
}
