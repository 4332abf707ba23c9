//! Which class of intended differences one belongs to. The reasons stand in docs/bullmq.md under "Keys".

use crate::diff::Difference;

/// The class; `None` for what nobody wants.
pub fn class(_one: &Difference) -> Option<&'static str> {
    None
}
