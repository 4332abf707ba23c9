//! `run`: one job in this process, over the memory store; no server, no data directory.

use clap::Args;
use serde_json::json;

use super::Context;
use super::input::JobArgs;
use super::output::Stop;
use crate::{ai, app};

/// Flags of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
}

/// `launchkit run TYPE [FILE|-]`
pub(super) async fn run(context: &Context, args: &RunArgs) -> Result<(), Stop> {
    let input = args.job.input()?;
    if let Err(faults) = ai::check(args.job.kind, &input) {
        let lines = faults.iter().map(|fault| format!("\n  {}: {}", fault.pointer, fault.message));
        return Err(Stop::Usage(format!("the input is not acceptable:{}", lines.collect::<String>())));
    }
    let answer = app::run(args.job.kind, input).await.map_err(|failure| Stop::Failed(failure.message))?;
    let usage = &answer.usage;
    let shown = json!({
        "type": args.job.kind.as_str(),
        "output": answer.output,
        "tokenUsed": usage.input_tokens + usage.output_tokens,
        "usage": {
            "inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens, "provider": usage.provider,
            "model": usage.model, "costMicros": usage.cost_micros,
        },
    });
    // The output is the result for people, too; a pipe gets nothing beside it.
    context.out.show(&shown, |shown| serde_json::to_string_pretty(&shown["output"]).unwrap_or_default());
    Ok(())
}
