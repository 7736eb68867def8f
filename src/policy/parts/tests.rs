//! Cutting, and what is foretold by EC2's published bucket.

use super::*;
use crate::budget::Buckets;
use proptest::prelude::*;

fn rung(nodes: u32, market: Market) -> Rung {
    Rung {
        block: 0,
        instance_type: "c6in.32xlarge".into(),
        zone: "us-east-2b".into(),
        subnet: "subnet-1".into(),
        market,
        nodes,
        efa: 2,
        hourly: Some(MicroUsd(3_600_000)),
        max_price: Some(MicroUsd(1)),
        reservation: None,
        region: None,
    }
}

fn price(market: Market) -> Option<MicroUsd> {
    Some(MicroUsd(if market == Market::Spot { 1_000_000 } else { 3_600_000 }))
}

fn published() -> Rate {
    Buckets::default().instances
}

#[test]
fn the_remainder_comes_first_and_then_the_thousands() {
    let parts = cut(&rung(2_500, Market::OnDemand), 1, 1_000, price);
    let sizes: Vec<(usize, u32)> = parts.iter().map(|p| (p.first, p.nodes)).collect();
    assert_eq!(sizes, [(0, 500), (500, 1_000), (1_500, 1_000)]);
    assert_eq!(cut(&rung(1_000, Market::OnDemand), 1, 1_000, price).len(), 1);
    assert_eq!(words(&parts), "500 + 1000 + 1000");
    let asked = parts[0].of(&rung(2_500, Market::OnDemand));
    assert_eq!((asked.nodes, asked.max_price), (500, None), "on demand has no bound");
}

#[test]
fn a_mixed_gang_has_its_critical_nodes_on_demand_and_first_among_its_names() {
    let parts = cut(&rung(8, Market::Mixed), 2, 1_000, price);
    assert_eq!(words(&parts), "2 on-demand + 6 spot");
    assert_eq!(parts.iter().map(|p| p.first).collect::<Vec<_>>(), [0, 2]);
    let asked = parts[1].of(&rung(8, Market::Mixed));
    assert_eq!((asked.market, asked.nodes, asked.max_price), (Market::Spot, 6, Some(MicroUsd(1))));
    assert_eq!(parts[1].hourly, Some(MicroUsd(1_000_000)));
    // More critical nodes than nodes: all on demand. Equal parts: spot first, it is refused more often.
    assert_eq!(words(&cut(&rung(2, Market::Mixed), 9, 1_000, price)), "2");
    assert_eq!(words(&cut(&rung(4, Market::Mixed), 2, 1_000, price)), "2 spot + 2 on-demand");
    assert_eq!(mean_hourly(4, 1, Some(MicroUsd(10)), Some(MicroUsd(3))), Some(MicroUsd(5)));
    assert_eq!(mean_hourly(1, 1, Some(MicroUsd(10)), None), Some(MicroUsd(10)));
    assert_eq!(mean_hourly(2, 1, Some(MicroUsd(10)), None), None);
}

#[test]
fn fifteen_hundred_nodes_under_the_published_buckets_are_foretold() {
    let parts = cut(&rung(1_500, Market::OnDemand), 1, 1_000, price);
    let f = forecast(&parts, published());
    // 500 wait for 250 s: 125,000 instance-seconds at USD 3.60 an hour.
    assert_eq!(f, Forecast { apart_s: 250, idle_s: 125_000, usd: Some(MicroUsd(125_000_000)) });
    let pool = crate::config::tests::pool();
    assert_eq!(fits(&parts, published(), &pool), Ok(f));
    let told = notice(&parts, &f, &pool);
    assert!(told.contains("as 2 fleets (500 + 1000)") && told.contains("4 min 10 s"), "{told}");
    assert!(told.contains("34.8 instance-hours are paid for (USD 125.00)"), "{told}");
    // Twice 500 nodes for 600 s at USD 3.60.
    assert_eq!(worst_waiting(&parts, MicroUsd(3_600_000), &pool), MicroUsd(600_000_000));
    let vast = cut(&rung(4_000, Market::OnDemand), 1, 1_000, price);
    let no = fits(&vast, published(), &pool).expect_err("1,500 s");
    assert!(no.contains("25 min after the first") && no.contains("ask for 2200 nodes at most"), "{no}");
}

proptest! {
    #[test]
    fn parts_are_the_gang(nodes in 1u32..4_000, critical in 1u32..50, most in 1u32..=1_000, mixed in any::<bool>()) {
        let market = if mixed { Market::Mixed } else { Market::Spot };
        let parts = cut(&rung(nodes, market), critical, most, price);
        prop_assert_eq!(parts.iter().map(|p| p.nodes).sum::<u32>(), nodes);
        prop_assert!(parts.iter().all(|p| p.nodes >= 1 && p.nodes <= most && p.market != Market::Mixed));
        let mut at: Vec<_> = parts.iter().collect();
        at.sort_by_key(|p| p.first);
        let mut next = 0;
        for p in at {
            prop_assert_eq!(p.first, next, "names are neither shared nor left out");
            next += p.nodes as usize;
        }
        if mixed {
            let safe: u32 = parts.iter().filter(|p| p.market == Market::OnDemand).map(|p| p.nodes).sum();
            prop_assert_eq!(safe, critical.min(nodes));
        }
        let f = forecast(&parts, published());
        prop_assert_eq!(f.apart_s, u64::from(nodes.saturating_sub(1_000)).div_ceil(2));
        prop_assert!(f.idle_s <= f.apart_s * u64::from(nodes));
    }
}
