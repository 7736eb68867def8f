//! Interfaces of every type known, and the traps.
use super::*;
use burst_policy::TypeBook;

fn facts(efa_max: u32, cards: &[(u32, u32, bool)]) -> TypeFacts {
    TypeFacts {
        name: "test.type".into(),
        vcpus: 1,
        cores: 1,
        memory_mib: 1,
        gpus: 0,
        efa_max,
        cards: cards.iter().map(|&(index, interfaces, efa)| Card { index, interfaces, efa }).collect(),
        on_demand: true,
        spot: true,
    }
}

fn short(l: &[Interface]) -> String {
    l.iter().map(|i| format!("{}/{} {}", i.card, i.device, i.kind.as_str())).collect::<Vec<_>>().join(", ")
}

#[test]
fn one_card_carries_the_efa_on_the_primary_interface() {
    assert_eq!(short(&layout(&facts(1, &[(0, 2, true)]), 1)), "0/0 efa");
    assert_eq!(short(&layout(&facts(1, &[(0, 2, true)]), 0)), "0/0 interface");
    assert_eq!(short(&layout(&facts(0, &[(0, 4, false)]), 1)), "0/0 interface");
}

#[test]
fn several_cards_follow_the_guidance() {
    let two = facts(2, &[(1, 2, true), (0, 2, true)]);
    assert_eq!(short(&layout(&two, 2)), "0/0 interface, 0/1 efa-only, 1/0 efa-only");
    assert_eq!(short(&layout(&two, 1)), "0/0 interface, 0/1 efa-only");
    assert_eq!(short(&layout(&two, 9)), "0/0 interface, 0/1 efa-only, 1/0 efa-only");
    let narrow = facts(2, &[(0, 1, true), (1, 1, true)]);
    assert_eq!(short(&layout(&narrow, 2)), "0/0 efa, 1/0 efa-only");
}

#[test]
fn p6_b300_keeps_card_0_for_ena() {
    let mut cards = vec![(0, 2, false)];
    cards.extend((1..=16).map(|i| (i, 2, true)));
    let l = layout(&facts(16, &cards), 16);
    assert_eq!(efa_count(&l), 16);
    assert_eq!(short(&l[..2]), "0/0 interface, 1/0 efa-only");
    assert!(l[1..].iter().all(|i| i.card != 0));
}

#[test]
fn i7ie_has_two_cards_and_one_efa() {
    let l = layout(&facts(1, &[(0, 8, true), (1, 8, true)]), 1);
    assert_eq!(short(&l), "0/0 interface, 0/1 efa-only");
    let l = layout(&facts(1, &[(0, 8, false), (1, 8, true)]), 1);
    assert_eq!(short(&l), "0/0 interface, 1/0 efa-only");
}

#[test]
fn every_built_in_type_is_laid_out_within_its_cards() {
    for (name, facts) in TypeBook::builtin().0 {
        for efa in 0..=facts.efa_max {
            let l = layout(&facts, efa);
            assert_eq!(efa_count(&l), efa, "{name}");
            assert_eq!((l[0].card, l[0].device), (0, 0), "{name}");
            assert_ne!(l[0].kind, Kind::EfaOnly, "{name}: the primary interface needs an address");
            for card in &facts.cards {
                let here: Vec<_> = l.iter().filter(|i| i.card == card.index).collect();
                assert!(here.len() <= card.interfaces as usize, "{name}: card {} overfull", card.index);
                assert!(
                    card.efa || here.iter().all(|i| !i.kind.is_efa()),
                    "{name}: card {} has no EFA",
                    card.index
                );
                assert!(here.iter().filter(|i| i.kind.is_efa()).count() <= 1, "{name}: two EFAs on a card");
            }
            assert!(l.iter().all(|i| facts.cards.iter().any(|c| c.index == i.card)), "{name}: no such card");
            let mut places: Vec<_> = l.iter().map(|i| (i.card, i.device)).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), l.len(), "{name}: two interfaces in one place");
        }
    }
}
