//! Events as BullMQ names them.

use bullmq::QueueEvent as Of;
use serde_json::{Value, json};

/// An event's name and its fields.
pub fn plain(event: Of) -> (String, Value) {
    let (name, fields) = match event {
        Of::Added { job_id, name } => ("added", json!({ "jobId": job_id, "name": name })),
        Of::Waiting { job_id, prev } => ("waiting", with(json!({ "jobId": job_id }), prev)),
        Of::Active { job_id, prev } => ("active", with(json!({ "jobId": job_id }), prev)),
        Of::Delayed { job_id, delay } => ("delayed", json!({ "jobId": job_id, "delay": delay })),
        Of::Completed { job_id, return_value, prev } => {
            ("completed", with(json!({ "jobId": job_id, "returnvalue": return_value }), prev))
        }
        Of::Failed { job_id, failed_reason, prev } => {
            ("failed", with(json!({ "jobId": job_id, "failedReason": failed_reason }), prev))
        }
        Of::RetriesExhausted { job_id, attempts_made } => {
            ("retries-exhausted", json!({ "jobId": job_id, "attemptsMade": attempts_made }))
        }
        Of::Progress { job_id, data } => ("progress", json!({ "jobId": job_id, "data": data })),
        Of::Stalled { job_id } => ("stalled", json!({ "jobId": job_id })),
        Of::Removed { job_id, prev } => ("removed", with(json!({ "jobId": job_id }), prev)),
        Of::Duplicated { job_id } => ("duplicated", json!({ "jobId": job_id })),
        Of::Deduplicated { job_id, deduplication_id, deduplicated_job_id } => (
            "deduplicated",
            json!({ "jobId": job_id, "deduplicationId": deduplication_id, "deduplicatedJobId": deduplicated_job_id }),
        ),
        Of::WaitingChildren { job_id } => ("waiting-children", json!({ "jobId": job_id })),
        Of::Cleaned { count } => ("cleaned", json!({ "count": count })),
        Of::Drained => ("drained", json!({})),
        Of::Paused => ("paused", json!({})),
        Of::Resumed => ("resumed", json!({})),
        Of::Other { event, fields } => return (event, json!(fields)),
        event => return (format!("{event:?}"), Value::Null),
    };
    (name.to_owned(), fields)
}

fn with(mut fields: Value, prev: Option<String>) -> Value {
    if let Some(prev) = prev {
        fields["prev"] = json!(prev);
    }
    fields
}
