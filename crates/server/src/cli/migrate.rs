//! `migrate`: brings the database's schema up to date and says so.

use launchkit_queue::Clock;
use serde_json::json;

use super::Context;
use super::output::Stop;
use crate::app;
use crate::ledger::Migrate;

/// `launchkit migrate`
pub(super) async fn migrate(context: &Context) -> Result<(), Stop> {
    let database = crate::config::database_of(&context.settings)?;
    let ledger = app::open_ledger(&database, Migrate::Apply, &Clock::system()).await.map_err(super::serve::stopped)?;
    let shown = json!({"migrated": true, "deployment": ledger.deployment_id()});
    ledger.close().await;
    context.out.show(&shown, |_| "The database's schema is up to date.".to_owned());
    Ok(())
}
