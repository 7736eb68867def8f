//! The cost guard: the most a launch can cost (law 7), and what it did cost.

use crate::{
    config::Pool,
    limits::{BILLED_LEAST_S, MONTH_HOURS, PAID_ATTEMPTS, ROOT_GIB_ASSUMED},
};
use burst_plan::{MicroUsd, Seconds};

/// What one node costs an hour: the instance, and its root volume where a price is known. A pool that leaves the size to
/// its image is counted with [`ROOT_GIB_ASSUMED`].
#[must_use]
pub fn node_hourly(instance: MicroUsd, root_gib: Option<u32>, gib_month: Option<MicroUsd>) -> MicroUsd {
    let gib = u64::from(root_gib.unwrap_or(ROOT_GIB_ASSUMED));
    let volume = gib_month.map_or(MicroUsd(0), |price| MicroUsd(price.times(gib).0.div_ceil(MONTH_HOURS)));
    instance.plus(volume)
}

/// The most a gang can cost: price × nodes × (time limit + boot, start and epilog limit + `kill_margin`, at least a minute)
/// × paid attempts. What Slurm needs to power names down after that costs nothing: the instances have ended before.
#[must_use]
pub fn worst(
    hourly: MicroUsd,
    nodes: u32,
    time_limit: Seconds,
    pool: &Pool,
    kill_margin: Seconds,
) -> MicroUsd {
    let seconds = time_limit
        .0
        .saturating_add(pool.boot_limit.0)
        .saturating_add(pool.start_limit.0)
        .saturating_add(pool.epilog_limit.0)
        .saturating_add(kill_margin.0)
        .max(BILLED_LEAST_S);
    hourly.hourly_for(seconds).times(u64::from(nodes)).times(u64::from(PAID_ATTEMPTS))
}

/// What one instance cost: by the second, a minute at least.
#[must_use]
pub fn actual(hourly: MicroUsd, seconds: u64) -> MicroUsd {
    hourly.hourly_for(seconds.max(BILLED_LEAST_S))
}

#[cfg(test)]
mod paths;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_outcome_within_the_limits_costs_more(
            hourly in 0u64..100_000_000, nodes in 1u32..1_000, limit in 0u64..1_000_000,
            boot in 0u64..=480, start in 0u64..=300, epilog in 0u64..=600, ran in 0u64..1_000_000,
        ) {
            let pool = crate::config::tests::pool();
            let bound = worst(MicroUsd(hourly), nodes, Seconds(limit), &pool, Seconds(30));
            let once = actual(MicroUsd(hourly), boot + start + ran.min(limit + 30) + epilog).times(u64::from(nodes));
            prop_assert!(once.plus(once) <= bound, "{once} twice over {bound}");
        }
    }

    proptest! {
        #[test]
        fn more_never_costs_less(
            hourly in any::<u64>(), nodes in 1u32..1_000, limit in any::<u64>(), more in 0u64..100_000,
        ) {
            let pool = crate::config::tests::pool();
            let of = |h: u64, n: u32, l: u64| worst(MicroUsd(h), n, Seconds(l), &pool, Seconds(30));
            let base = of(hourly, nodes, limit);
            prop_assert!(of(hourly.saturating_add(more), nodes, limit) >= base);
            prop_assert!(of(hourly, nodes + 1, limit) >= base);
            prop_assert!(of(hourly, nodes, limit.saturating_add(more)) >= base);
        }
    }

    #[test]
    fn overflow_saturates() {
        let pool = crate::config::tests::pool();
        let most = worst(MicroUsd(u64::MAX), u32::MAX, Seconds(u64::MAX), &pool, Seconds(0));
        assert_eq!(most, MicroUsd(u64::MAX));
    }

    #[test]
    fn volumes_count() {
        let with = node_hourly(MicroUsd(7_200_000), Some(730), Some(MicroUsd(80_000)));
        assert_eq!(with, MicroUsd(7_280_000));
        assert_eq!(node_hourly(MicroUsd(1), Some(730), None), MicroUsd(1));
        let assumed = node_hourly(MicroUsd(0), None, Some(MicroUsd(730_000)));
        assert_eq!(
            assumed,
            MicroUsd(1_000 * u64::from(ROOT_GIB_ASSUMED)),
            "the image's own size is not known"
        );
    }
}
