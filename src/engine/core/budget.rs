//! What the budget service promised to a gang that has come to nothing.

use super::Core;
use burst_policy::gang::Gang;

impl Core {
    /// Gives the promises of a gang back that is over and for which nothing was ever launched: it has cost nothing.
    pub(super) fn settle_unlaunched(&self, gang: &mut Gang) {
        if gang.is_living() || gang.paid > 0 || gang.unsure || gang.promises.is_empty() {
            return;
        }
        let (hands, job, promises) =
            (self.hands.clone(), gang.job_text(), std::mem::take(&mut gang.promises));
        self.hands.host.spawn(async move {
            hands.budget.settle(&hands, &job, &promises, None).await;
        });
    }
}
