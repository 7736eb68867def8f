use super::*;

const TABLE: &str = r#"{"source":"synthetic 2026-11","regions":{"us-east-2":{"ebs_gib_month":"0.08","types":{
  "hpc7a.96xlarge":{"on-demand":"7.20"},"c6i.large":{"on-demand":"0.085","spot":"0.034"}}}}}"#;

fn table() -> Prices {
    Prices::parse(TABLE).expect("reads")
}

fn ran(kind: &str, market: Market, ms: (u64, u64), purpose: Purpose) -> Ran {
    Ran {
        id: format!("i-{kind}-{}", ms.1),
        instance_type: kind.into(),
        market: Some(market),
        launched_ms: ms.0,
        ended_ms: Some(ms.1),
        purpose,
        ..Ran::default()
    }
}

fn life(instances: Vec<Ran>) -> Life {
    Life { region: "us-east-2".into(), instances, ..Life::default() }
}

#[test]
fn by_the_second_with_a_minute_at_least_and_waste_apart() {
    let mut l = life(vec![
        ran("hpc7a.96xlarge", Market::OnDemand, (0, 3_600_000), Purpose::Served),
        ran("hpc7a.96xlarge", Market::OnDemand, (0, 61_001), Purpose::Failed),
        ran("hpc7a.96xlarge", Market::OnDemand, (5_000, 6_000), Purpose::Replaced),
    ]);
    price(&mut l, &table(), Some(100));
    assert_eq!(l.instances.iter().map(|r| r.billed_s).collect::<Vec<_>>(), [Some(3_600), Some(62), Some(60)]);
    // 7.20 an hour; 62 s: 124000; 60 s: 120000.
    let compute: Vec<_> = l.instances.iter().map(|r| r.compute.expect("priced").0).collect();
    assert_eq!(compute, [7_200_000, 124_000, 120_000]);
    // 0.08 × 100 GiB / 730 h = 10958.904… an hour; 188.737… and 182.648… for 62 s and 60 s.
    let storage: Vec<_> = l.instances.iter().map(|r| r.storage.expect("priced").0).collect();
    assert_eq!(storage, [10_959, 189, 183]);
    let c = &l.cost;
    assert_eq!((c.compute, c.storage), (Some(MicroUsd(7_200_000)), Some(MicroUsd(10_959))));
    assert_eq!(c.wasted, Some(MicroUsd(124_000 + 120_000 + 189 + 183)));
    assert_eq!((c.total, c.known), (Some(MicroUsd(7_455_331)), MicroUsd(7_455_331)));
    assert_eq!((c.spot_savings, c.missing.len()), (Some(MicroUsd(0)), 0));
    assert_eq!(c.prices, "synthetic 2026-11");
}

#[test]
fn spot_is_priced_at_its_price_and_what_it_saved_is_told() {
    let mut l = life(vec![ran("c6i.large", Market::Spot, (0, 3_600_000), Purpose::Served)]);
    price(&mut l, &table(), Some(8));
    assert_eq!(l.cost.compute, Some(MicroUsd(34_000)));
    assert_eq!(l.cost.spot_savings, Some(MicroUsd(51_000)));
}

#[test]
fn a_price_that_is_not_there_is_not_invented() {
    let mut l = life(vec![
        ran("hpc7a.96xlarge", Market::Spot, (0, 3_600_000), Purpose::Served),
        ran("c6i.large", Market::OnDemand, (0, 3_600_000), Purpose::Served),
    ]);
    price(&mut l, &table(), None);
    let c = &l.cost;
    assert_eq!((c.compute, c.storage, c.total, c.spot_savings), (None, None, None, None));
    assert_eq!((c.known, c.wasted), (MicroUsd(85_000), Some(MicroUsd(0))), "nothing was wasted");
    assert_eq!(
        c.missing,
        [
            "the price table has no spot price of hpc7a.96xlarge in us-east-2",
            "the size of the root volumes is not known (root_gib of the pool)"
        ]
    );
    price(&mut l, &Prices::default(), Some(8));
    assert!(l.cost.missing.iter().any(|m| m.contains("no ebs_gib_month of us-east-2")));
}

#[test]
fn what_was_not_seen_is_said() {
    let mut l = life(vec![ran("c6i.large", Market::OnDemand, (0, 60_000), Purpose::Served)]);
    l.unseen = true;
    price(&mut l, &table(), Some(8));
    assert_eq!((l.cost.wasted, l.cost.total), (None, None));
    assert!(l.cost.compute.is_some(), "what served was seen");
    let mut l =
        life(vec![Ran { ended_ms: None, ..ran("c6i.large", Market::OnDemand, (0, 1), Purpose::Served) }]);
    price(&mut l, &table(), Some(8));
    assert_eq!(l.cost.compute, None);
    assert!(l.cost.missing[0].contains("is not known"));
}
