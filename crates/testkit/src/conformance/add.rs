//! Adding.

use launchkit_queue::JobOptions;

use crate::Harness;
use crate::given::*;

/// First in, first out.
pub async fn jobs_are_taken_in_the_order_they_were_added(h: &impl Harness) {
    let q = Given::on(h);
    q.waiting(&["a", "b"], T0).await;
    q.add(vec![named("c", JobOptions::default())], T0).await;
    assert_eq!(q.take_ids(10, at(1)).await, ["a", "b", "c"]);
}
