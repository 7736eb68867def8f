//! Between the grant and the start: replacement, lost addresses, limits of Slurm's.

use super::*;

/// A gang of four whose third node has failed.
fn broken(w: &World) -> Gang {
    *w.ladder.borrow_mut() = vec![rung("us-east-2b", 4), rung("us-east-2c", 4)];
    let mut g = gang();
    let launch = to_launch(&mut g, w);
    done(&mut g, &launch, grant(4), w, 10);
    boot_granted(&mut g, w);
    all_ask(&mut g);
    g.members[2].failed = Some("no EFA device".into());
    g
}

fn replaced(n: usize) -> Outcome {
    Outcome::Fleet(Grant {
        fleet: "fleet-2".into(),
        instances: (0..n).map(|i| format!("i-new{i}")).collect(),
        errors: Vec::new(),
        request_id: None,
    })
}

#[test]
fn one_failed_node_is_replaced_in_the_same_zone_and_the_rest_stays() {
    let w = World::new();
    let mut g = broken(&w);
    let (bad, kept) = (g.members[2].clone(), g.members[0].clone());
    let first = g.token("u");
    assert_eq!(next(&mut g, &w, 20), Some(Effect::Retire), "the failed one stops costing money first");
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 21);
    let launch = next(&mut g, &w, 22).expect("launch");
    let Effect::Launch { rung, .. } = &launch else { panic!("{launch:?}") };
    assert_eq!((rung.nodes, rung.zone.as_str()), (1, "us-east-2b"));
    assert_ne!(g.token("u"), first, "another intent, another token");
    done(&mut g, &launch, replaced(1), &w, 30);
    let look = next(&mut g, &w, 31).expect("look");
    let found = g.members.iter().map(|m| (m.instance.clone(), ("10.0.0.1".parse().ok(), None))).collect();
    done(&mut g, &look, Outcome::Addresses(found), &w, 32);
    assert_eq!(next(&mut g, &w, 33), Some(Effect::TellAddresses));
    let down: Vec<_> = g.members.iter().filter(|m| !m.up).map(|m| m.instance.clone()).collect();
    assert_eq!(down, ["i-new0"], "only the new one is told");
    done(&mut g, &Effect::TellAddresses, Outcome::Ok, &w, 34);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    assert!(matches!(next(&mut g, &w, 40), Some(Effect::Release { .. })));
    assert_eq!((g.names.len(), g.members.len(), g.paid), (4, 4, 2));
    assert!(g.members.contains(&Member { up: true, ..kept }));
    assert!(!g.names.contains(&bad.node) && g.all_names().any(|n| *n == bad.node), "its name stays taken");
    assert!(g.all_instances().any(|i| *i == bad.instance));
}

#[test]
fn law1_a_replacement_that_is_refused_gives_the_whole_gang_back() {
    let w = World::new();
    let mut g = broken(&w);
    next(&mut g, &w, 20);
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 21);
    let launch = next(&mut g, &w, 22).expect("launch");
    done(&mut g, &launch, no_capacity(), &w, 30);
    assert_eq!(next(&mut g, &w, 31), Some(Effect::PowerDown));
    assert!(matches!(&g.phase, Phase::Ending { then: Then::Again { rung: 1 }, .. }), "{:?}", g.phase);
    assert_eq!(g.members.len(), 3, "all three are still to be ended");
}

#[test]
fn law3_part_of_a_replacement_is_ended_with_the_rest() {
    let w = World::new();
    let mut g = broken(&w);
    g.members[3].failed = Some("no EFA device".into());
    next(&mut g, &w, 20);
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 21);
    let launch = next(&mut g, &w, 22).expect("launch");
    assert!(matches!(&launch, Effect::Launch { rung, .. } if rung.nodes == 2));
    done(&mut g, &launch, replaced(1), &w, 30);
    assert!(matches!(g.phase, Phase::Ending { .. }), "{:?}", g.phase);
    let all: Vec<_> = g.all_instances().cloned().collect();
    assert_eq!(all, ["i-0", "i-1", "i-new0", "i-2", "i-3"]);
}

#[test]
fn law7_a_replacement_is_the_second_paid_attempt() {
    let w = World::new();
    let mut g = broken(&w);
    next(&mut g, &w, 20);
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 21);
    let launch = next(&mut g, &w, 22).expect("launch");
    done(&mut g, &launch, replaced(1), &w, 30);
    boot_granted(&mut g, &w);
    g.members[0].failed = Some("no EFA device".into());
    next(&mut g, &w, 50);
    assert!(matches!(&g.phase, Phase::Ending { then: Then::Failed(_), .. }), "{:?}", g.phase);
}

#[test]
fn law7_a_replacement_gives_the_others_no_more_time() {
    let w = World::new();
    let mut g = broken(&w);
    next(&mut g, &w, 20);
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 21);
    let launch = next(&mut g, &w, 22).expect("launch");
    done(&mut g, &launch, replaced(1), &w, 400_000);
    let look = next(&mut g, &w, 400_001).expect("look");
    let found = g.members.iter().map(|m| (m.instance.clone(), ("10.0.0.1".parse().ok(), None))).collect();
    done(&mut g, &look, Outcome::Addresses(found), &w, 400_002);
    let tell = next(&mut g, &w, 400_003).expect("told");
    done(&mut g, &tell, Outcome::Ok, &w, 400_004);
    assert_eq!(next(&mut g, &w, 480_009), None);
    assert!(matches!(g.phase, Phase::Booting { .. }), "the boot limit of the first has not passed");
    next(&mut g, &w, 480_010);
    assert!(matches!(g.phase, Phase::Ending { .. }), "{:?}", g.phase);
}

#[test]
fn a_name_of_the_gang_s_own_is_no_replacement() {
    let w = World::new();
    let mut g = broken(&w);
    // A look at the nodes from before they came up.
    w.set_nodes(&g.names, &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 20), Some(Effect::PowerDown));
    assert!(matches!(g.phase, Phase::Ending { then: Then::Again { .. }, .. }), "{:?}", g.phase);
}

#[test]
fn most_of_a_gang_is_not_replaced_but_given_back() {
    let w = World::new();
    let mut g = broken(&w);
    for m in &mut g.members[..2] {
        m.failed = Some("no EFA device".into());
    }
    assert_eq!(next(&mut g, &w, 20), Some(Effect::PowerDown));
}

#[test]
fn addresses_that_slurm_lost_are_told_again_a_few_times() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    let bare = NodeView { address: None, ..idle() };
    w.set_nodes(&g.names, &idle());
    w.set_nodes(&g.names[1..], &bare);
    for at in 0..4 {
        let tell = next(&mut g, &w, 1_000 + at);
        assert_eq!(tell, Some(Effect::TellAddresses), "not released without its addresses");
        let lost: Vec<_> = g.members.iter().filter(|m| !m.up).map(|m| m.node.clone()).collect();
        assert_eq!(lost, g.names[1..]);
        done(&mut g, &Effect::TellAddresses, Outcome::Ok, &w, 1_000 + at);
        assert_eq!(g.phase, Phase::Booting { deadline_ms: 480_010 }, "the same boot_limit");
    }
    // Slurm writes them in its own way: that is no reason to wait for ever.
    assert!(matches!(next(&mut g, &w, 2_000), Some(Effect::Release { .. })));
}

#[test]
fn names_that_are_down_while_instances_boot_are_no_trouble() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    w.set_nodes(&g.names, &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 100_000), None);
    assert!(matches!(g.phase, Phase::Booting { .. }));
}

#[test]
fn law7_tries_of_the_release_count_against_the_start_limit() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 1_000).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 9_000);
    assert_eq!(g.phase, Phase::Released { deadline_ms: 301_000 });
}

#[test]
fn a_limit_of_slurm_s_gives_the_gang_back_early_and_waits() {
    let (mut g, w) = (gang(), World::new());
    to_booting(&mut g, &w);
    all_ask(&mut g);
    w.set_nodes(&g.names, &idle());
    let release = next(&mut g, &w, 1_000).expect("release");
    done(&mut g, &release, Outcome::Ok, &w, 1_000);
    w.edit(|v| (v.held, v.reason) = (false, "AssocGrpCpuLimit".into()));
    assert_eq!(next(&mut g, &w, 3_000), None, "the last pass may have said it");
    assert!(matches!(next(&mut g, &w, 7_000), Some(Effect::Hold { .. })));
    assert!(says::sentence(&g).contains("AssocGrpCpuLimit"), "{}", says::sentence(&g));
    done(&mut g, &Effect::Hold { comment: String::new() }, Outcome::Ok, &w, 7_001);
    w.edit(|v| v.held = true);
    assert_eq!(next(&mut g, &w, 7_002), Some(Effect::PowerDown));
    done(&mut g, &Effect::PowerDown, Outcome::Ok, &w, 7_003);
    assert_eq!(next(&mut g, &w, 7_004), Some(Effect::Terminate { sweep: false }));
    done(&mut g, &Effect::Terminate { sweep: false }, Outcome::Ok, &w, 7_005);
    w.set_nodes(&g.names.clone(), &NodeView { idle: true, powered_down: true, ..NodeView::default() });
    assert_eq!(next(&mut g, &w, 8_000), None);
    assert!(matches!(g.phase, Phase::Waiting { until_ms: Some(608_000), .. }), "{:?}", g.phase);
}

#[test]
fn a_late_node_is_replaced_though_nobody_has_looked_at_the_others_since() {
    let w = World::new();
    let mut g = broken(&w);
    g.members[2].failed = None;
    let late = g.members[2].node.clone();
    w.set_nodes(&g.names, &idle());
    w.set_nodes(&[late], &NodeView { no_respond: true, ..NodeView::default() });
    let known = w.nodes.replace(Default::default());
    assert_eq!(next(&mut g, &w, 480_010), None);
    assert!(matches!(g.phase, Phase::Booting { .. }), "what was not looked at is not late: {:?}", g.phase);
    w.nodes.replace(known);
    assert_eq!(next(&mut g, &w, 480_020), Some(Effect::Retire));
    // The three have used up their time, too, but they are up.
    w.nodes.replace(Default::default());
    done(&mut g, &Effect::Retire, Outcome::Ok, &w, 480_030);
    let launch = next(&mut g, &w, 480_040);
    assert!(
        matches!(&launch, Some(Effect::Launch { rung, .. }) if rung.nodes == 1),
        "{launch:?} {:?}",
        g.phase
    );
}
