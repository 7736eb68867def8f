use super::*;
use proptest::prelude::*;

fn usd(n: u64) -> MicroUsd {
    MicroUsd(n * 1_000_000)
}

fn rules() -> Spending {
    let budget = |hour: Option<u64>, day: Option<u64>, month: Option<u64>| Budget {
        hour: hour.map(usd),
        day: day.map(usd),
        month: month.map(usd),
    };
    Spending {
        rules: vec![
            (Who::Cluster, budget(Some(100), None, Some(10_000))),
            (Who::User("*".into()), budget(None, Some(50), None)),
            (Who::User("ada".into()), budget(None, Some(200), None)),
            (Who::Account("lab".into()), budget(None, None, Some(1_000))),
        ],
        ..Spending::default()
    }
}

fn wish(hourly: u64, worst: u64) -> Wish {
    Wish { hourly: Some(usd(hourly)), worst: Some(usd(worst)) }
}

#[test]
fn the_first_limit_in_the_way_is_told_with_its_figures() {
    let (rules, mut book) = (rules(), Book::default());
    let (ada, bob) = (whose("ada", "lab", "efa"), whose("bob", "lab", "efa"));
    assert_eq!(decide(&rules, &book, &ada, wish(100, 200)), Ok(()), "a limit may be reached");
    let stop = decide(&rules, &book, &bob, wish(10, 51)).expect_err("too much for anybody");
    assert_eq!(
        stop.text(),
        "user bob may spend 50.00 USD a day: 0.00 USD are spent or committed, this job may cost 51.00"
    );
    book.add(ada.clone(), Sums { hour: usd(60), day: usd(150), month: usd(980) });
    let stop = decide(&rules, &book, &bob, wish(41, 1)).expect_err("the cluster's hour");
    assert_eq!(
        stop.text(),
        "the cluster may have 100.00 USD an hour in flight: 60.00 USD an hour are in flight, this job adds 41.00"
    );
    let stop = decide(&rules, &book, &bob, wish(1, 21)).expect_err("the account's month");
    assert_eq!(stop.which, "account lab may spend 1000.00 USD a month");
    let stop = decide(&rules, &book, &whose("ada", "x", "efa"), wish(1, 51)).expect_err("her day");
    assert_eq!(stop.which, "user ada may spend 200.00 USD a day");
    assert_eq!(decide(&rules, &book, &whose("bob", "x", "efa"), wish(40, 50)), Ok(()));
}

#[test]
fn without_a_price_no_limit_is_kept() {
    let stop = decide(&rules(), &Book::default(), &whose("ada", "lab", "efa"), Wish::default());
    assert!(stop.expect_err("not known").figures.contains("price table"));
    let free = Spending::default();
    assert_eq!(decide(&free, &Book::default(), &whose("ada", "lab", "efa"), Wish::default()), Ok(()));
}

#[test]
fn thresholds_are_passed_at_their_figure() {
    let level = |day: MicroUsd| {
        let mut book = Book::default();
        book.add(whose("bob", "x", "efa"), Sums { day, ..Sums::default() });
        let all = gauges(&rules(), &book);
        all.iter()
            .find(|g| g.who == Who::User("bob".into()))
            .map(|g| (g.window, g.level))
            .expect("has a limit")
    };
    assert_eq!(level(MicroUsd(39_999_999)), (Window::Day, Level::Fine));
    assert_eq!(level(usd(40)), (Window::Day, Level::Warn));
    assert_eq!(level(usd(50)), (Window::Day, Level::Full));
}

#[test]
fn months_begin_on_their_first_day() {
    // 2025-11-25T21:43:26Z; 2025-11-01 is day 20393.
    assert_eq!(days(1_764_107_006_000), (20_417, 20_393));
    assert_eq!(days(0), (0, 0));
}

proptest! {
    #[test]
    fn what_is_let_through_never_passes_a_limit(
        steps in proptest::collection::vec((0u64..60, 0u64..120, 0usize..2), 1..60),
    ) {
        let (rules, mut book) = (rules(), Book::default());
        for (hourly, worst, who) in steps {
            let whose = whose(["ada", "bob"][who], "lab", "efa");
            if decide(&rules, &book, &whose, wish(hourly, worst)).is_ok() {
                book.add(whose, Sums { hour: usd(hourly), day: usd(worst), month: usd(worst) });
            }
            for g in gauges(&rules, &book) {
                prop_assert!(g.now <= g.limit, "{g:?}");
            }
        }
    }
}
