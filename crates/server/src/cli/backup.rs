//! `backup` and `restore`: copies of what a deployment keeps in files.

use std::path::PathBuf;

use clap::Args;
use launchkit_queue::Clock;

use super::Context;
use super::output::Stop;
use crate::backup::{self, BackupError, Manifest, Places};
use crate::config::{Database, QueueStore, data_dir, database_of, queue_store};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The directory to make
    #[arg(value_name = "DIR")]
    into: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The directory that `backup` made
    #[arg(value_name = "DIR")]
    from: PathBuf,
}

/// `launchkit backup DIR`
pub(super) async fn backup(context: &Context, args: &BackupArgs) -> Result<(), Stop> {
    let taken = backup::take(&places(context)?, &args.into, Clock::system().now().millis()).await.map_err(stopped)?;
    let into = args.into.display();
    context.out.show(&taken, |taken| format!("Deployment {} is copied to {into}:\n{}", taken.deployment, files(taken)));
    Ok(())
}

/// `launchkit restore DIR`
pub(super) async fn restore(context: &Context, args: &RestoreArgs) -> Result<(), Stop> {
    let places = places(context)?;
    let put = backup::restore(&places, &args.from).await.map_err(stopped)?;
    let (dir, taken) = (places.data_dir.display(), &put.taken);
    context.out.show(&put, |put| {
        format!("Deployment {} is back in {dir}, as it was at {taken}:\n{}", put.deployment, files(put))
    });
    Ok(())
}

fn places(context: &Context) -> Result<Places, Stop> {
    let database = match database_of(&context.settings)? {
        Database::Sqlite(path) => path,
        Database::Postgres(_) => {
            return Err(Stop::Usage(
                "the database is on PostgreSQL: copy it with pg_dump, and keep JWT_SECRET and LAUNCHKIT_SECRET_KEY. A \
                 queue on Redis needs no copy: it is built again from the database"
                    .to_owned(),
            ));
        }
    };
    let queue = matches!(queue_store(&context.settings)?, QueueStore::Embedded);
    Ok(Places { data_dir: data_dir(&context.settings), database, queue })
}

fn files(copy: &Manifest) -> String {
    let lines: Vec<String> =
        copy.files.iter().map(|file| format!("  {:<15} {:>12} bytes", file.name, file.bytes)).collect();
    lines.join("\n")
}

fn stopped(why: BackupError) -> Stop {
    match why {
        BackupError::Exists(_) | BackupError::Nothing(_) | BackupError::Unknown(..) => Stop::Usage(why.to_string()),
        _ => Stop::Failed(why.to_string()),
    }
}
