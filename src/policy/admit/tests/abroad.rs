//! Further Regions in the ladder.

use super::*;

const WEST: &str = "[pool.efa.region.us-west-2]\nzones = { \"us-west-2b\" = \"subnet-0bb11\" }\nimage = \"ami-2\"\n\
    security_groups = [\"sg-2\"]\n";

fn config(more: &str) -> Config {
    Config::parse(&format!("{GOOD}{WEST}{more}"), "f").expect("good")
}

fn with_prices(config: &Config, json: &str, request: &Request, job: &Geometry) -> Verdict {
    let (types, prices) = (TypeBook::builtin(), Prices::parse(json).expect("reads"));
    let offers = Offers::of(config, &types, &prices);
    let site = Site { config, types: &types, offers: &offers, kill_margin: Seconds(30) };
    admit(site, &config.pools["efa"], request, job)
}

const BOTH: &str = r#"{"source":"synthetic","regions":{"us-east-2":{"types":{
    "hpc7a.96xlarge":{"on-demand":"7.20"},"hpc6a.48xlarge":{"on-demand":"2.88"}}},"us-west-2":{"types":{
    "hpc7a.96xlarge":{"on-demand":"9.00"},"hpc6a.48xlarge":{"on-demand":"3.00"}}}}}"#;

#[test]
fn another_region_comes_after_every_place_of_the_first_with_its_own_price() {
    let a = admitted(with_prices(&config(""), BOTH, &Request::default(), &job(384)));
    let places: Vec<_> =
        a.ladder.iter().map(|r| (r.instance_type.as_str(), r.zone.as_str(), r.region.as_deref())).collect();
    assert_eq!(
        places,
        [
            ("hpc7a.96xlarge", "us-east-2b", None),
            ("hpc7a.96xlarge", "us-east-2a", None),
            ("hpc6a.48xlarge", "us-east-2b", None),
            ("hpc6a.48xlarge", "us-east-2a", None),
            ("hpc7a.96xlarge", "us-west-2b", Some("us-west-2")),
            ("hpc6a.48xlarge", "us-west-2b", Some("us-west-2")),
        ]
    );
    assert_eq!(a.ladder[4].subnet, "subnet-0bb11");
    assert_eq!(
        (a.ladder[0].hourly, a.ladder[4].hourly),
        (Some(MicroUsd(7_200_000)), Some(MicroUsd(9_000_000)))
    );
    // The dearest place counts: 2 nodes x 9.00 x (3600 + 480 + 300 + 600 + 30 s) x 2 attempts.
    assert_eq!(a.worst_cost, Some(MicroUsd(50_100_000)));
}

#[test]
fn law7_a_region_without_prices_is_not_launched_into_where_there_is_a_limit() {
    let text = refused(decide_in(&config(""), &Request::default(), &job(384)));
    assert!(text.contains("no price of hpc7a.96xlarge (on-demand) in us-west-2 is known"), "{text}");
}

#[test]
fn a_plan_may_name_zones_of_any_region_and_reservations_may_be_anywhere() {
    let zones = Request { zones: vec!["us-west-2b".into()], ..Request::default() };
    let a = admitted(with_prices(&config(""), BOTH, &zones, &job(96)));
    assert!(a.ladder.iter().all(|r| r.region.as_deref() == Some("us-west-2")), "{:?}", a.ladder);
    let far = "[[pool.efa.reservation]]\nid = \"cr-0f\"\ntype = \"hpc7a.96xlarge\"\nzone = \"us-west-2b\"\n\
        group = \"none\"\n";
    let a = admitted(with_prices(&config(far), BOTH, &Request::default(), &job(96)));
    let first = &a.ladder[0];
    assert_eq!((first.region.as_deref(), first.zone.as_str()), (Some("us-west-2"), "us-west-2b"));
    assert_eq!(first.reservation.as_ref().map(|r| r.id.as_str()), Some("cr-0f"));
}
