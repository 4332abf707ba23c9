//! `token`: JWTs for operators, made with the configured secret, without a server.

use clap::{Args, Subcommand};
use launchkit_queue::Clock;
use secrecy::ExposeSecret;
use serde_json::json;

use super::Context;
use super::output::{Stop, plain};
use crate::auth::{Grant, Role, Tokens};
use crate::config::{Config, duration};
use crate::when::rfc3339;

const MOST_TTL_DAYS: u64 = 366;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    /// Limit it to one organisation
    #[arg(long)]
    org: Option<String>,
    /// Who it is for, as audits will show
    #[arg(long, value_name = "NAME", default_value = "command-line")]
    sub: String,
    /// How long it is good, like 15m, 1h or 30d; at most 366d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: String,
}

/// `launchkit token create`
pub(super) fn token(context: &Context, command: TokenCommand) -> Result<(), Stop> {
    let TokenCommand::Create(args) = command;
    let ttl = duration(&args.ttl)
        .filter(|ttl| (1..=MOST_TTL_DAYS * 86_400).contains(&ttl.as_secs()))
        .ok_or_else(|| Stop::Usage("--ttl must be a time like 1h, from 1s to 366d".to_owned()))?;
    let config = Config::from_settings(&context.settings)?;
    let now = Clock::system().now();
    let until = now.plus(ttl).millis();
    let grant = Grant { subject: args.sub, role: args.role, org: args.org };
    let token = Tokens::new(&config.jwt).make(&grant, now.millis(), until);
    let token = token.map_err(|error| Stop::Failed(format!("the token could not be made: {error}")))?;
    // A JWT's end is in whole seconds.
    let ends = until.div_euclid(1_000) * 1_000;
    let shown = json!({"token": token.expose_secret(), "expiresAt": rfc3339(ends)});
    context.out.show(&shown, |shown| plain(&shown["token"]));
    Ok(())
}
