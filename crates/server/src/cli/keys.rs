//! `keys`: API keys, directly in the database, with or without a running server.

use clap::{Args, Subcommand};
use launchkit_queue::Clock;
use serde_json::{Value, json};

use super::Context;
use super::output::{Stop, plain};
use super::table::fitted;
use crate::app;
use crate::auth::Scope;
use crate::config::{duration, migrate};
use crate::ledger::{AuditEntry, KeyMode, KeyRow, Ledger, LedgerError, NewKey};
use crate::when::rfc3339;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; it is shown this once
    Create(CreateArgs),
    /// List an organisation's keys, without their secrets
    List {
        /// The organisation; the first one of the deployment when not given
        #[arg(long)]
        org: Option<String>,
    },
    /// Revoke a key; every server refuses it within a second
    Revoke {
        /// The key's id
        id: String,
        /// The organisation; the first one of the deployment when not given
        #[arg(long)]
        org: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The organisation; the first one of the deployment when not given
    #[arg(long)]
    org: Option<String>,
    /// What you call it
    #[arg(long, default_value = "command line")]
    name: String,
    /// Scopes; all when not given
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', value_parser = ["jobs:read", "jobs:write", "usage:read", "webhooks:write"])]
    scopes: Option<Vec<String>>,
    /// It stops working after this time, like 90d
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// For trying things out: lk_test_…
    #[arg(long)]
    test: bool,
}

/// `launchkit keys …`
pub(super) async fn keys(context: &Context, command: KeysCommand) -> Result<(), Stop> {
    let clock = Clock::system();
    let database = crate::config::database_of(&context.settings)?;
    let ledger =
        app::open_ledger(&database, migrate(&context.settings)?, &clock).await.map_err(super::serve::stopped)?;
    let now = clock.now().millis();
    let done = match command {
        KeysCommand::Create(args) => create(context, &ledger, &args, now).await,
        KeysCommand::List { org } => list(context, &ledger, org, now).await,
        KeysCommand::Revoke { id, org } => revoke(context, &ledger, &id, org, now).await,
    };
    ledger.close().await;
    done
}

async fn create(context: &Context, ledger: &Ledger, args: &CreateArgs, now: i64) -> Result<(), Stop> {
    let expires_at = match args.ttl.as_deref().map(duration) {
        None => None,
        Some(Some(ttl)) if !ttl.is_zero() => {
            Some(now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
        }
        Some(_) => return Err(Stop::Usage("--ttl must be a time like 90d".to_owned())),
    };
    let org = org(ledger, args.org.clone(), now).await?;
    let all = || Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
    let new = NewKey {
        org: org.clone(),
        name: args.name.clone(),
        mode: if args.test { KeyMode::Test } else { KeyMode::Live },
        scopes: args.scopes.clone().unwrap_or_else(all),
        expires_at,
    };
    let made = ledger.create_key(&new, now).await.map_err(failed)?;
    let Some((row, key)) = made else { return Err(Stop::Failed(format!("there is no organisation {org}"))) };
    note_change(ledger, &row.org, "key.create", &row.id, now).await;
    let shown = json!({"id": row.id, "key": key, "prefix": prefix(&row), "org": row.org});
    context.out.show(&shown, |shown| plain(&shown["key"]));
    Ok(())
}

async fn list(context: &Context, ledger: &Ledger, asked: Option<String>, now: i64) -> Result<(), Stop> {
    let org = org(ledger, asked, now).await?;
    let rows = ledger.list_keys(&org).await.map_err(failed)?;
    let keys: Vec<Value> = rows.iter().map(|row| key_json(row, now)).collect();
    context.out.show(&json!({"apiKeys": keys}), |shown| {
        let cells = |key: &Value| {
            ["id", "prefix", "name", "state", "createdAt", "lastUsedAt"].map(|name| plain(&key[name])).to_vec()
        };
        let rows: Vec<Vec<String>> = shown["apiKeys"].as_array().into_iter().flatten().map(cells).collect();
        fitted(&["ID", "PREFIX", "NAME", "STATE", "CREATED", "LAST USED"], &rows)
    });
    Ok(())
}

async fn revoke(context: &Context, ledger: &Ledger, id: &str, asked: Option<String>, now: i64) -> Result<(), Stop> {
    let org = org(ledger, asked, now).await?;
    if !ledger.revoke_key(&org, id, now).await.map_err(failed)? {
        return Err(Stop::Failed(format!("the organisation {org} has no key {id}")));
    }
    note_change(ledger, &org, "key.revoke", id, now).await;
    context.out.show(&json!({"id": id, "org": org, "revoked": true}), |_| format!("revoked {id}"));
    Ok(())
}

async fn org(ledger: &Ledger, asked: Option<String>, now: i64) -> Result<String, Stop> {
    match asked {
        Some(org) => Ok(org),
        None => Ok(ledger.ensure_default_org(now).await.map_err(failed)?.id),
    }
}

/// The change itself is committed; a missing audit row is told and not undone.
async fn note_change(ledger: &Ledger, org: &str, what: &str, target: &str, now: i64) {
    let entry = AuditEntry {
        org: Some(org.to_owned()),
        who: "command line".to_owned(),
        what: what.to_owned(),
        target: target.to_owned(),
        from: "local".to_owned(),
        at: now,
    };
    if let Err(error) = ledger.audit(&entry).await {
        super::output::note(&format!("launchkit: the audit row was not written: {error}"));
    }
}

fn key_json(row: &KeyRow, now: i64) -> Value {
    let state = match (row.revoked_at, row.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ => "active",
    };
    json!({
        "id": row.id, "org": row.org, "name": row.name, "prefix": prefix(row), "scopes": row.scopes, "state": state,
        "createdAt": rfc3339(row.created_at), "expiresAt": row.expires_at.map(rfc3339),
        "lastUsedAt": row.last_used_at.map(rfc3339), "revokedAt": row.revoked_at.map(rfc3339),
    })
}

/// The part of a key that may be shown: with its family, as it begins.
fn prefix(row: &KeyRow) -> String {
    let family = match row.mode {
        KeyMode::Live => "lk_live_",
        KeyMode::Test => "lk_test_",
    };
    format!("{family}{}", row.prefix)
}

fn failed(error: LedgerError) -> Stop {
    match error {
        LedgerError::Unreachable(_) => Stop::Unreachable(error.to_string()),
        _ => Stop::Failed(error.to_string()),
    }
}
