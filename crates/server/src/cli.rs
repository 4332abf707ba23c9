//! The command line: one sub-command per file, the same rules for all.
//!
//! Results go to standard output, messages to standard error. With `--json` standard output holds
//! one JSON document and nothing else. Exit codes: 0 done, 1 failed, 2 wrong use, 3 cannot reach
//! the server or a store.

mod backup;
mod client;
mod demo;
mod doctor;
mod input;
mod jobs;
mod keys;
mod logs;
mod migrate;
mod output;
mod queue;
mod run;
mod serve;
mod table;
mod token;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Settings;
use output::{Out, Stop};

/// Text jobs as an asynchronous API, in one binary that needs nothing installed.
#[derive(Debug, Parser)]
#[command(name = "launchkit", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Print one JSON document on standard output and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// Where embedded files and made secrets live [LAUNCHKIT_DATA_DIR; default ./launchkit-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// sqlite://PATH or postgres://… [DATABASE_URL; default: a file in the data directory]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Address of the server, for commands that talk to one [LAUNCHKIT_URL; default http://localhost:3001]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API and work on jobs, in one process
    Serve(serve::ServeArgs),
    /// Work on jobs only, beside a server that shares the data directory
    Worker(serve::WorkerArgs),
    /// Show everything once: a server on a free port, one job of each type, a table of results
    Demo(demo::DemoArgs),
    /// Do one job in this process, without a server and without a data directory
    Run(run::RunArgs),
    /// Submit and follow jobs on a server
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Look at and control the queues of a server
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Make, list and revoke API keys, directly in the database
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Make tokens for operators
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show what is configured, where it came from, and whether it works
    Doctor,
    /// Bring the database's schema up to date
    Migrate,
    /// Copy what a deployment keeps in files, while it runs: database, queue, secrets
    Backup(backup::BackupArgs),
    /// Put such a copy back, where no deployment is
    Restore(backup::RestoreArgs),
}

/// What every command gets.
struct Context {
    out: Out,
    settings: Settings,
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.common.json);
    match start(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => out.stop(&stop),
    }
}

fn start(cli: Cli, out: Out) -> Result<(), Stop> {
    let mut flags = vec![
        ("LAUNCHKIT_DATA_DIR", cli.common.data_dir),
        ("DATABASE_URL", cli.common.database_url),
        ("LAUNCHKIT_URL", cli.common.url),
    ];
    match &cli.command {
        Command::Serve(args) => flags.extend(args.flags()),
        Command::Worker(args) => flags.extend(args.flags()),
        _ => {}
    }
    let settings =
        Settings::load(&flags, std::env::vars_os(), Path::new(".")).map_err(|error| Stop::Usage(error.to_string()))?;
    let context = Context { out, settings };
    // Only these do work of their own; a client needs no threads.
    let many_threads =
        matches!(cli.command, Command::Serve(_) | Command::Worker(_) | Command::Demo(_) | Command::Run(_));
    let mut builder = if many_threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build().map_err(|error| Stop::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(run(cli.command, &context))
}

async fn run(command: Command, context: &Context) -> Result<(), Stop> {
    match command {
        Command::Serve(_) => serve::serve(context).await,
        Command::Worker(_) => serve::worker(context).await,
        Command::Demo(args) => demo::demo(context, &args).await,
        Command::Run(args) => run::run(context, &args).await,
        Command::Jobs(command) => jobs::jobs(context, command).await,
        Command::Queue(command) => queue::queue(context, command).await,
        Command::Keys(command) => keys::keys(context, command).await,
        Command::Token(command) => token::token(context, command),
        Command::Doctor => doctor::doctor(context).await,
        Command::Migrate => migrate::migrate(context).await,
        Command::Backup(args) => backup::backup(context, &args).await,
        Command::Restore(args) => backup::restore(context, &args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
