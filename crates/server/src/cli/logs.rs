//! Logging of a process: to standard error, and to a file when one is named.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::output::Stop;
use crate::config::{LogFormat, Logging};

/// Starts logging. Called once, by the commands that run a service.
pub(super) fn init(logging: &Logging) -> Result<(), Stop> {
    let mut layers = vec![layer(logging.format, std::io::stderr, std::io::stderr().is_terminal())];
    if let Some(path) = &logging.file {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| Stop::Usage(format!("LOG_FILE: cannot open {}: {error}", path.display())))?;
        layers.push(layer(logging.format, Mutex::new(file), false));
    }
    let filter = EnvFilter::builder().parse(&logging.filter);
    let filter = filter.map_err(|error| Stop::Usage(format!("RUST_LOG is not a filter: {error}")))?;
    let started = tracing_subscriber::registry().with(layers).with(filter).try_init();
    started.map_err(|error| Stop::Failed(format!("cannot start logging: {error}")))?;
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// Where a panic was, into the log like everything else. What it says only when that is a text of the program: a message
/// put together at the time may quote a user's input.
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or("withheld: it may quote an input");
    let backtrace = std::backtrace::Backtrace::capture();
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(at, message, %backtrace, "a bug: something panicked");
    } else {
        eprintln!("a bug: something panicked at {at}: {message}");
    }
}

/// Text lines are `time LEVEL message field=value`, so that messages can be searched for as they are.
fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}
